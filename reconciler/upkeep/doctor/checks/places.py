"""Checks of hive's own directories: missing ones, wrong owners, and leftovers.

A proposed work tree is never opened: of `proposed/<n>` only its own entry is read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from meta import own_file
from meta.desired.uid_ranges import UID_STEP
from meta.errors import Damaged
from meta.git.in_use import in_use
from meta.layout import FOLDER_MODE, FOLDERS
from meta.names import AgentName
from meta.process.identity import ProcessIdentity, alive
from meta.text import command_line
from reconciler.common.leftovers import find
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, names_in, ok

_THROW_AWAY = {"processes": FOLDER_MODE, "quarantine": 0o700, "scratch": 0o700}
_PER_AGENT = ("agents", "applied", "proposed", "generations", "roots", "previews", "nix/agents")
_REMOVED_BY = "`hive doctor --fix` or a start of the daemon removes it"


async def directories(subject: Subject) -> list[Finding]:
    """Check every directory that a start of the daemon makes."""
    layout = subject.layout
    if not subject.exists:
        return [Finding(Verdict.FAIL, f"there is no hive in {layout.state}", "start one with `hive serve`")]
    wanted = {
        layout.state / name: mode for name, mode in {**dict.fromkeys(FOLDERS, FOLDER_MODE), **_THROW_AWAY}.items()
    }
    if subject.held:  # without a daemon the sockets' directories are not needed, and a reboot removes them
        wanted |= {layout.runtime: FOLDER_MODE, layout.runtime / "agents": FOLDER_MODE}
    findings, missing = [], {}
    for path, mode in wanted.items():
        if path.is_dir() and not path.is_symlink():
            continue
        if os.path.lexists(path):
            text = f"{path} is not a directory, or is a link"
            findings.append(Finding(Verdict.FAIL, text, "move it away; `hive doctor --fix` makes the directory"))
        else:
            missing[path] = mode
    return findings + _missing(subject, missing) or ok("all of them exist")


def _missing(subject: Subject, missing: Mapping[Path, int]) -> list[Finding]:
    """Report missing directories.

    If a daemon runs, each is a failure. Without one they are reported together, because the next start makes them.
    """
    state = subject.layout.state
    if subject.held:
        fixes = {path: partial(_remake, {path: mode}, state) for path, mode in missing.items()}
        remedy = "`hive doctor --fix` makes it"
        return [Finding(Verdict.FAIL, f"{path} is missing", remedy, fix, False) for path, fix in fixes.items()]
    if not missing:
        return []
    first, *more = map(str, missing)
    text = f"{len(missing)} directories are missing, like {first}" if more else f"{first} is missing"
    remedy = "a start of the daemon makes them; so does `hive doctor --fix`"
    return [Finding(Verdict.WARN, text, remedy, partial(_remake, missing, state), removes=False)]


def _remake(missing: Mapping[Path, int], owned_like: Path) -> str:
    """Make directories that belong to the owner of the state directory."""
    for path, mode in missing.items():
        _make(path, mode, owned_like)
    return f"made {', '.join(map(str, missing))}"


def _make(path: Path, mode: int, owned_like: Path) -> None:
    path.mkdir(mode=mode)
    path.chmod(mode)
    owner = owned_like.stat()
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


async def permissions(subject: Subject) -> list[Finding]:
    """Check that hive's files belong to hive, and that others cannot read secrets."""
    layout = subject.layout
    if not layout.state.is_dir():
        return ok("there is no state directory yet")
    owner = layout.state.stat().st_uid
    findings = []
    if os.geteuid() not in (0, owner):
        text = f"uid {os.geteuid()} runs this, but the state directory belongs to uid {owner}"
        findings.append(
            Finding(Verdict.WARN, text, f"run it as that user (sudo -u '#{owner}' hive doctor) to check everything")
        )
    repos = [path for name in subject.repos() for path in (layout.applied(name), layout.applied_git(name))]
    for path in (layout.state, layout.owner, layout.meta_git, *repos, layout.runtime):
        findings += _owned(path, owner, 0o022)
    for path in (layout.database, layout.lock):  # a user that can open the lock can hold it: then no daemon starts
        findings += _owned(path, owner, 0o077)
    return findings + await _agents(subject, owner) or ok(f"every file of hive belongs to uid {owner}")


def _owned(path: Path, owner: int, bits: int) -> list[Finding]:
    seen = _lstat(path)
    if seen is None:
        return []
    if seen.st_uid != owner:
        text = f"{path} belongs to uid {seen.st_uid}, the state directory to uid {owner}"
        return [
            Finding(Verdict.FAIL, text, f"find out who changed it, then {command_line('chown', '-R', owner, path)}")
        ]
    return _closed(path, bits)


def _closed(path: Path, bits: int) -> list[Finding]:
    seen = _lstat(path)
    if seen is None or not stat.S_IMODE(seen.st_mode) & bits:
        return []
    wanted = stat.S_IMODE(seen.st_mode) & ~bits
    fault = "others may write" if stat.S_IMODE(seen.st_mode) & 0o022 else "others may read"
    return [
        Finding(
            Verdict.FAIL,
            f"{fault} {path} (mode {stat.S_IMODE(seen.st_mode):04o})",
            command_line("chmod", f"{wanted:o}", path),
        )
    ]


async def _agents(subject: Subject, owner: int) -> list[Finding]:
    """Check /state and home of each agent: not readable by others, and owned by the uid range that meta gives."""
    view, findings = await subject.view(), []
    real = view is not None and subject.backend != "fake"  # the fake backend has no containers
    for name, entry in view.desired.agents.items() if real and view is not None else ():
        base = entry.settings.uid_base
        for path in (subject.layout.agent_state(name), subject.layout.agent_home(name)):
            seen = _lstat(path)
            if seen is None:
                continue
            findings += _closed(path, 0o077)
            if seen.st_uid != owner and not base <= seen.st_uid < base + UID_STEP:
                text = f"{path} belongs to uid {seen.st_uid}; {name} has the uids from {base}"
                chown = command_line("chown", "-R", f"{base}:{base}", path)
                findings.append(Finding(Verdict.FAIL, text, f"{chown}, then `hive rebuild {name}`"))
    return findings


async def locks(subject: Subject) -> list[Finding]:
    """Report locks of a git that has ended. Each blocks every transaction of its repo."""
    findings = []
    for git_dir in (subject.layout.meta_git, *map(subject.layout.applied_git, subject.repos())):
        for path in _lock_files(git_dir):
            if subject.settled(path):
                text = f"{path} was left by a git that has ended"
                fix = partial(_unlink_lock, subject, git_dir, path)
                findings.append(Finding(Verdict.FAIL, text, _REMOVED_BY, fix))
    return findings or ok("there is no stale lock in hive's repos")


def _unlink_lock(subject: Subject, git_dir: Path, path: Path) -> str:
    if in_use(git_dir, subject.host.proc):
        return f"{path} was left alone: a process works in {git_dir}"
    return _unlink(subject, path)


def _lock_files(git_dir: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(git_dir):
        if folder == f"{git_dir}/objects":
            folders[:] = [name for name in folders if name in ("info", "pack")]
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".lock"))


async def records(subject: Subject) -> list[Finding]:
    """Report records of commands that outlived their daemon."""
    findings = []
    for path in sorted(subject.layout.processes.glob("*-*.*")):
        which, words = _record(path)
        if which is not None and alive(which):
            if not subject.held:
                text = f"`{words}` (pid {which.pid}) still runs, but its daemon has ended"
                findings.append(
                    Finding(Verdict.WARN, text, f"the next start of the daemon ends it; or kill {which.pid}")
                )
        elif subject.settled(path):
            fix = partial(_unlink, subject, path)
            text = f"{path} is the record of `{words}`, which has ended"
            findings.append(Finding(Verdict.WARN, text, _REMOVED_BY, fix))
    return findings or ok("there is no orphan record of a command")


def _record(path: Path) -> tuple[ProcessIdentity | None, str]:
    try:
        record = json.loads(own_file.read(path))
        words = " ".join(str(word) for word in record.get("argv", []))[:80]
    except (OSError, Damaged, ValueError, AttributeError, TypeError):
        return None, "?"
    try:
        return ProcessIdentity(int(record["pid"]), int(record["start"]), str(record["boot"])), words
    except (ValueError, KeyError, TypeError):
        return None, words


async def leftovers(subject: Subject) -> list[Finding]:
    """Report leftovers of agents that no longer exist, and of operations that were interrupted."""
    findings = await _unknown_agents(subject)
    for scratch in (subject.layout.quarantine, subject.layout.scratch, subject.layout.push_moving):
        for path in sorted(scratch.iterdir()) if scratch.is_dir() and not subject.held else ():
            findings += _left(subject, path, "of a fetch or a candidate that was interrupted")
    for path in find(subject.layout) if not subject.held else ():
        text = f"{path} is a leftover of a daemon that was killed"
        findings.append(Finding(Verdict.WARN, text, "a start of the daemon removes it"))
    return findings or ok("nothing is left over")


async def _unknown_agents(subject: Subject) -> list[Finding]:
    view = await subject.view()
    if view is None:
        return []
    state = subject.layout.state
    known = {*view.desired.agents, *view.desired.tombstones, *filter(partial(_has_tags, subject), subject.repos())}
    entries = [(folder, name) for folder in _PER_AGENT for name in names_in(state / folder)]
    paths = [state / folder / name for folder, name in entries if name not in known]
    paths += [subject.layout.push_repo(name) for name in _push_repos(subject) if name not in known]
    return [each for path in paths for each in _left(subject, path, "of an agent that neither meta nor a tag names")]


def _push_repos(subject: Subject) -> list[AgentName]:
    paths = sorted(subject.layout.push_repos.glob("*.git"))
    return [AgentName(path.name.removesuffix(".git")) for path in paths]


def _has_tags(subject: Subject, name: str) -> bool:
    git_dir = subject.layout.state / "applied" / name / ".git"
    return (git_dir / "packed-refs").exists() or any(path.is_file() for path in (git_dir / "refs/tags").glob("*/*"))


def _left(subject: Subject, path: Path, what: str) -> list[Finding]:
    if not subject.settled(path):
        return []
    empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if empty:
        fix = partial(_rmdir, subject, path)
        return [Finding(Verdict.WARN, f"{path} is an empty leftover {what}", "`hive doctor --fix` removes it", fix)]
    return [Finding(Verdict.WARN, f"{path} is a leftover {what}", "check what it is, then remove it by hand")]


def _unlink(subject: Subject, path: Path) -> str:
    if not subject.settled(path):
        return f"{path} was left alone: it is removed already, or in use again"
    path.unlink()
    return f"removed {path}"


def _rmdir(subject: Subject, path: Path) -> str:
    if not subject.settled(path):
        return f"{path} was left alone: it is removed already, or in use again"
    path.rmdir()
    return f"removed the empty {path}"


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
