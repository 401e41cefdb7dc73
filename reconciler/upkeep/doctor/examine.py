"""`hive doctor`: a table of checks, run over one hive and its host, and the repair of what is safe to repair.

Checks take no lock and change nothing. Repairs hold the state directory's lock if no daemon holds it. Beside a daemon
they touch only files that are too old for the daemon to be using them (`Subject.settled`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Conflict, HiveError
from reconciler.upkeep.doctor.checks import (
    agents,
    coding_agents,
    credentials,
    dashboard,
    declared,
    egress,
    generations,
    host,
    packs,
    places,
    proposed,
    quotas,
    running,
    systemd,
    truth,
)
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict

SECONDS = 600.0
"""Seconds for one check. The longest is the fsck of many repos."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table. `about` is the fact that the check verifies."""

    name: str
    about: str
    run: Callable[[Subject], Awaitable[list[Finding]]]


CHECKS = (
    Check("daemon", "one daemon has the state directory and is well", running.daemon),
    Check("sockets", "the operator's sockets answer and are closed to others", running.sockets),
    Check("git", "git is installed and new enough", host.git),
    Check("nix", "nix is installed if the builder needs it", host.nix),
    Check("bubblewrap", "agents can be isolated", host.bubblewrap),
    Check("scopes", "the kernel can hold the scopes of agents", host.scopes),
    Check("clis", "the coding agents that agents need are installed and start", coding_agents.coding_agents),
    Check("uids", "no agent is the host's root, and each has a uid of its own", host.uids),
    Check("cgroups", "the limits of agents can be enforced", host.cgroups),
    Check("helper", "the root helper of backend nixos listens", host.helper),
    Check("bus", "the system bus of backend nixos is available", systemd.bus),
    Check("credentials", "agents of backend nixos have the credentials that they need", credentials.credentials),
    Check("egress", "hive-egress answers, and its keys are in place", egress.way_out),
    Check("dashboard", "the dashboard is served, and its certificate lasts", dashboard.dashboard),
    Check("inotify", "programs can watch enough files", host.inotify),
    Check("files", "enough files may be open", host.files),
    Check("disk", "there is free space, in bytes and inodes", host.disk),
    Check("quotas", "the limit of each agent's files is smaller than the file system", quotas.quotas),
    Check("clock", "the clock is synchronised and did not jump", host.clock),
    Check("directories", "every directory of hive exists", places.directories),
    Check("permissions", "hive's files belong to hive, and others cannot read secrets", places.permissions),
    Check("locks", "there is no stale lock in hive's repos", places.locks),
    Check("records", "there is no record of a command that has ended", places.records),
    Check("proposed", "work trees and push repos are as hive made them, and the group may push", proposed.repos),
    Check("leftovers", "nothing is left of agents that do not exist any more", places.leftovers),
    Check("meta", "meta can be read, and the commits that it pins exist", truth.meta),
    Check("growth", "no repo has many small packs, or room taken by what was decided", packs.growth),
    Check("fsck", "every repo of hive is sound", truth.fsck),
    Check("damage", "every ref of hive's repos can be read", truth.damage),
    Check("generations", "the files of every generation are those that were built", generations.generations),
    Check("tags", "the tags agree with each other and with meta", truth.tags),
    Check("database", "the database is sound and agrees with the tags", truth.database),
    Check("containers", "every container belongs to hive and to an agent", running.containers),
    Check("declared", "the list of declared agents can be read, and none waits for a person", declared.declared),
    Check("agents", "no agent has failed or needs an operator", agents.agents),
    Check("status", "`hive status` has no other warnings", agents.notes),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One finding of one check.

    `fixable`: `--fix` repairs it, and with `removes` it removes something for that. `fixed`: it is repaired now, and
    `text` is what was done.
    """

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""
    fixable: bool = False
    fixed: bool = False
    removes: bool = False


async def examine(subject: Subject, *, fix: bool = False, checks: Sequence[Check] = CHECKS) -> list[Row]:
    """Run every check, in order. With `fix`, repair what is safe to repair, and repeat the check.

    Raise Conflict if a daemon starts between the checks and the repairs.
    """
    results = [(check, await _run(check, subject)) for check in checks]
    if not fix or not any(finding.fix for _, findings in results for finding in findings):
        return [row for check, findings in results for row in _rows(check, findings)]
    with _locked(subject):
        rows = []
        for check, findings in results:
            repairs = [row for finding in findings if (row := await _repair(check, finding)) is not None]
            rows += repairs + _rows(check, await _run(check, subject) if repairs else findings)
    return rows


def failed(rows: Sequence[Row]) -> bool:
    """Return True if a check failed."""
    return any(row.verdict is Verdict.FAIL for row in rows)


async def _run(check: Check, subject: Subject) -> list[Finding]:
    try:
        async with asyncio.timeout(SECONDS):
            return await check.run(subject)
    except HiveError as error:
        return [Finding(Verdict.FAIL, error.summary, error.hint)]
    except TimeoutError:
        return [Finding(Verdict.FAIL, f"this check did not end within {SECONDS:g} s", "check whether a disk hangs")]
    except (OSError, ValueError) as error:
        return [
            Finding(Verdict.FAIL, f"this cannot be checked: {error}", "run `hive doctor` as hive's user, or as root")
        ]


def _rows(check: Check, findings: Sequence[Finding]) -> list[Row]:
    return [
        Row(check.name, each.verdict, each.text, each.remedy, fixable, removes=fixable and each.removes)
        for each, fixable in ((each, each.fix is not None) for each in findings)
    ]


async def _repair(check: Check, finding: Finding) -> Row | None:
    if finding.fix is None:
        return None
    try:
        done = finding.fix()
        return Row(check.name, Verdict.OK, done if isinstance(done, str) else await done, fixed=True)
    except (OSError, HiveError) as error:
        return Row(check.name, Verdict.FAIL, f"not repaired: {finding.text}: {error}", finding.remedy)


def is_held(lock: Path) -> bool:
    """Return True if a daemon holds the state directory, or if this user may not know: that is the safe assumption."""
    try:
        with _flock(lock):
            return False
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(subject: Subject) -> Iterator[None]:
    """Hold the state directory's lock while the block runs, if it exists and no daemon holds it."""
    if subject.held or not subject.layout.lock.exists():
        yield
        return
    try:
        with _flock(subject.layout.lock):
            yield
    except BlockingIOError as error:
        raise Conflict("a daemon has just started; nothing was repaired", "run `hive doctor` again") from error


@contextlib.contextmanager
def _flock(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
