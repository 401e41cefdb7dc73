"""`hive doctor`: a table of checks, run over one hive and its host, and the mending of what is safe to mend.

Reading takes no lock and changes nothing. Mending happens under the state directory's lock where no daemon has it;
beside a daemon only what is so old that the daemon cannot be using it is touched (`Subject.settled`).
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
from reconciler.upkeep.doctor.checks import agents, host, places, proposed, running, systemd, truth
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict

SECONDS = 600.0
"""One check; the longest is fsck of many repos."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table. `about` is what it makes sure of."""

    name: str
    about: str
    run: Callable[[Subject], Awaitable[list[Finding]]]


CHECKS = (
    Check("daemon", "one daemon has the state directory and is well", running.daemon),
    Check("sockets", "the operator's sockets answer and are closed to others", running.sockets),
    Check("git", "git is there and new enough", host.git),
    Check("nix", "nix is there where the builder needs it", host.nix),
    Check("bubblewrap", "agents can be isolated", host.bubblewrap),
    Check("uids", "no agent is the host's root, and each has a uid of its own", host.uids),
    Check("cgroups", "limits of agents can be enforced", host.cgroups),
    Check("helper", "the root helper of backend nixos listens", host.helper),
    Check("bus", "the system bus of backend nixos is there", systemd.bus),
    Check("inotify", "programs can watch files", host.inotify),
    Check("files", "enough files may be open", host.files),
    Check("disk", "there is room, in bytes and inodes", host.disk),
    Check("clock", "the clock is kept and did not jump back", host.clock),
    Check("directories", "every directory of hive's is there", places.directories),
    Check("permissions", "hive's things are hive's, secrets are closed", places.permissions),
    Check("locks", "no stale lock in hive's repos", places.locks),
    Check("records", "no record of a dead command", places.records),
    Check("proposed", "work trees and push repos are whole, their group may push", proposed.repos),
    Check("leftovers", "nothing of agents that are no more", places.leftovers),
    Check("meta", "meta can be read, and its pins exist", truth.meta),
    Check("fsck", "every repo of hive's is sound", truth.fsck),
    Check("tags", "the tags agree with each other and with meta", truth.tags),
    Check("database", "the database is sound and agrees with the tags", truth.database),
    Check("containers", "every container is hive's and an agent's", running.containers),
    Check("agents", "no agent was given up or waits for somebody", agents.agents),
    Check("status", "`hive status` says nothing else of this hive", agents.notes),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One finding of one check. `fixable`: `--fix` mends it; `fixed`: it just did, and `text` says what."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""
    fixable: bool = False
    fixed: bool = False


async def examine(subject: Subject, *, fix: bool = False, checks: Sequence[Check] = CHECKS) -> list[Row]:
    """Run every check, in order; with `fix` mend what is safe and look again where something was mended.

    Conflict when a daemon starts between the look and the mending.
    """
    found = [(check, await _run(check, subject)) for check in checks]
    if not fix or not any(finding.fix for _, findings in found for finding in findings):
        return [row for check, findings in found for row in _rows(check, findings)]
    with _unharmed(subject):
        rows = []
        for check, findings in found:
            mended = [row for row in (_mend(check, finding) for finding in findings) if row is not None]
            rows += mended + _rows(check, await _run(check, subject) if mended else findings)
    return rows


def failed(rows: Sequence[Row]) -> bool:
    """Whether anything is wrong that needs somebody."""
    return any(row.verdict is Verdict.FAIL for row in rows)


async def _run(check: Check, subject: Subject) -> list[Finding]:
    try:
        async with asyncio.timeout(SECONDS):
            return await check.run(subject)
    except HiveError as error:
        return [Finding(Verdict.FAIL, error.summary, error.hint)]
    except TimeoutError:
        return [Finding(Verdict.FAIL, f"this check did not end within {SECONDS:g} s", "is a disk hanging?")]
    except (OSError, ValueError) as error:
        return [Finding(Verdict.FAIL, f"this cannot be looked at: {error}", "run it as hive's user, or as root")]


def _rows(check: Check, findings: Sequence[Finding]) -> list[Row]:
    return [Row(check.name, each.verdict, each.text, each.remedy, each.fix is not None) for each in findings]


def _mend(check: Check, finding: Finding) -> Row | None:
    if finding.fix is None:
        return None
    try:
        return Row(check.name, Verdict.OK, finding.fix(), fixed=True)
    except OSError as error:
        return Row(check.name, Verdict.FAIL, f"not mended: {finding.text}: {error}", finding.remedy)


def is_held(lock: Path) -> bool:
    """Whether a daemon has the state directory. Yes as well where this user may not find out: that is the safe side."""
    try:
        with _flock(lock):
            return False
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _unharmed(subject: Subject) -> Iterator[None]:
    """The state directory's lock while the block runs, where no daemon has it and there is one."""
    if subject.held or not subject.layout.lock.exists():
        yield
        return
    try:
        with _flock(subject.layout.lock):
            yield
    except BlockingIOError as error:
        raise Conflict("a daemon has just started; nothing was mended", "`hive doctor` again") from error


@contextlib.contextmanager
def _flock(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
