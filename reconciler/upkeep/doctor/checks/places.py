"""hive's own directories: what must be there, whose it is, and what should be gone.

A proposed work tree is never opened: of `proposed/<n>` only its own entry is looked at.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from meta.desired.view import UID_STEP
from meta.process.identity import ProcessIdentity, alive
from reconciler.common.leftovers import find
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, names_in, ok

_FOLDERS = {"agents": 0o755, "applied": 0o755, "proposed": 0o755, "generations": 0o755, "roots": 0o755}
_OURS = {"processes": 0o755, "quarantine": 0o700, "scratch": 0o700}
_PER_AGENT = ("agents", "applied", "proposed", "generations", "roots", "previews", "nix/agents")
SHOWN = 5


async def directories(subject: Subject) -> list[Finding]:
    """Every directory that a start makes."""
    layout = subject.layout
    if not subject.exists:
        return [Finding(Verdict.FAIL, f"there is no hive in {layout.state}", "start one with `hive serve`")]
    wanted = {layout.state / name: mode for name, mode in {**_FOLDERS, **_OURS}.items()}
    if subject.held:  # without a daemon nobody needs the sockets' directories; after a reboot they are gone
        wanted |= {layout.runtime: 0o755, layout.runtime / "agents": 0o755}
    found, missing = [], {}
    for path, mode in wanted.items():
        if path.is_dir() and not path.is_symlink():
            continue
        if os.path.lexists(path):
            text = f"{path} is no directory of its own"
            found.append(Finding(Verdict.FAIL, text, "move it away; `hive doctor --fix` makes the directory"))
        else:
            missing[path] = mode
    return found + _missing(subject, missing) or ok("all are there")


def _missing(subject: Subject, missing: Mapping[Path, int]) -> list[Finding]:
    """Beside a daemon each is a failure; without one they are one thing, which the next start does anyway."""
    state = subject.layout.state
    if subject.held:
        mends = {path: partial(_remake, {path: mode}, state) for path, mode in missing.items()}
        remedy = "`hive doctor --fix` makes it"
        return [Finding(Verdict.FAIL, f"{path} is missing", remedy, mend) for path, mend in mends.items()]
    if not missing:
        return []
    first, *more = map(str, missing)
    text = f"{len(missing)} directories are missing, like {first}" if more else f"{first} is missing"
    remedy = "a start of the daemon makes them; so does `hive doctor --fix`"
    return [Finding(Verdict.WARN, text, remedy, partial(_remake, missing, state))]


def _remake(missing: Mapping[Path, int], owned_like: Path) -> str:
    """Make them, owned by whoever owns the state directory."""
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
    """hive's things are hive's, and secrets are nobody else's."""
    layout = subject.layout
    if not layout.state.is_dir():
        return ok("there is nothing yet")
    owner = layout.state.stat().st_uid
    found = []
    if os.geteuid() not in (0, owner):
        text = f"this is run as uid {os.geteuid()}, the state directory belongs to uid {owner}"
        found.append(Finding(Verdict.WARN, text, f"run it as that user (sudo -u '#{owner}' hive doctor) to see all"))
    repos = [path for name in subject.repos() for path in (layout.applied(name), layout.applied_git(name))]
    for path in (layout.state, layout.owner, layout.meta_git, *repos, layout.runtime):
        found += _ours(path, owner, 0o022)
    for path in (layout.database, layout.lock):  # who can open the lock can hold it, and no daemon starts
        found += _ours(path, owner, 0o077)
    return found + await _agents(subject, owner) or ok(f"everything of hive's belongs to uid {owner}")


def _ours(path: Path, owner: int, bits: int) -> list[Finding]:
    seen = _lstat(path)
    if seen is None:
        return []
    if seen.st_uid != owner:
        text = f"{path} belongs to uid {seen.st_uid}, the state directory to uid {owner}"
        return [Finding(Verdict.FAIL, text, f"chown -R {owner} {path}, after you found out who changed it")]
    return _closed(path, bits)


def _closed(path: Path, bits: int) -> list[Finding]:
    seen = _lstat(path)
    if seen is None or not stat.S_IMODE(seen.st_mode) & bits:
        return []
    wanted = stat.S_IMODE(seen.st_mode) & ~bits
    what = "others may write" if stat.S_IMODE(seen.st_mode) & 0o022 else "others may read"
    return [Finding(Verdict.FAIL, f"{what} {path} (mode {stat.S_IMODE(seen.st_mode):04o})", f"chmod {wanted:o} {path}")]


async def _agents(subject: Subject, owner: int) -> list[Finding]:
    """/state and home of each agent: closed, and of the uid range that meta gives."""
    view, found = await subject.view(), []
    real = view is not None and subject.backend != "fake"  # whose containers are only words
    for name, entry in view.desired.agents.items() if real and view is not None else ():
        base = entry.settings.uid_base
        for path in (subject.layout.agent_state(name), subject.layout.agent_home(name)):
            seen = _lstat(path)
            if seen is None:
                continue
            found += _closed(path, 0o077)
            if seen.st_uid != owner and not base <= seen.st_uid < base + UID_STEP:
                text = f"{path} belongs to uid {seen.st_uid}; {name} has the uids from {base}"
                found.append(Finding(Verdict.FAIL, text, f"chown -R {base}:{base} {path}, then `hive rebuild {name}`"))
    return found


async def locks(subject: Subject) -> list[Finding]:
    """No lock of a git that is dead: it would stop every transaction of that repo."""
    found = []
    for git_dir in (subject.layout.meta_git, *map(subject.layout.applied_git, subject.repos())):
        for path in _lock_files(git_dir):
            if subject.settled(path):
                text = f"{path} was left by a git that is gone"
                fix = partial(_unlink, subject, path)
                found.append(Finding(Verdict.FAIL, text, "`hive doctor --fix` removes it; so does a start", fix))
    return found or ok("no stale lock in hive's repos")


def _lock_files(git_dir: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(git_dir):
        if folder == f"{git_dir}/objects":
            folders[:] = [name for name in folders if name in ("info", "pack")]
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".lock"))


async def records(subject: Subject) -> list[Finding]:
    """No record of a command that ended without its daemon."""
    found = []
    for path in sorted(subject.layout.processes.glob("*-*.*")):
        which, words = _record(path)
        if which is not None and alive(which):
            if not subject.held:
                text = f"`{words}` (pid {which.pid}) still runs, and its daemon is gone"
                found.append(Finding(Verdict.WARN, text, f"the next start ends it; or kill {which.pid}"))
        elif subject.settled(path):
            fix = partial(_unlink, subject, path)
            text = f"{path} is the record of `{words}`, which is gone"
            found.append(Finding(Verdict.WARN, text, "`hive doctor --fix` removes it; so does a start", fix))
    return found or ok("no orphan record of a command")


def _record(path: Path) -> tuple[ProcessIdentity | None, str]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        words = " ".join(str(word) for word in read.get("argv", []))[:80]
    except (OSError, ValueError, AttributeError, TypeError):
        return None, "?"
    try:
        return ProcessIdentity(int(read["pid"]), int(read["start"]), str(read["boot"])), words
    except (ValueError, KeyError, TypeError):
        return None, words


async def leftovers(subject: Subject) -> list[Finding]:
    """Nothing of agents that are no more, and no half-made things."""
    view = await subject.view()
    known = {*view.desired.agents, *view.desired.tombstones} if view is not None else None
    known = None if known is None else known | {name for name in subject.repos() if _has_tags(subject, name)}
    found = []
    for folder in _PER_AGENT if known is not None else ():
        for name in names_in(subject.layout.state / folder):
            if known is not None and name not in known:
                found += _left(subject, subject.layout.state / folder / name, "of an agent that nothing knows")
    for scratch in (subject.layout.quarantine, subject.layout.scratch):
        for path in sorted(scratch.iterdir()) if scratch.is_dir() and not subject.held else ():
            found += _left(subject, path, "of a fetch or a candidate that was cut short")
    for path in find(subject.layout) if not subject.held else ():
        text = f"{path} is a leftover of a daemon that was killed"
        found.append(Finding(Verdict.WARN, text, "a start of the daemon removes it"))
    return found or ok("nothing is left over")


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
    return [Finding(Verdict.WARN, f"{path} is a leftover {what}", "look what it is; then remove it by hand")]


def _unlink(subject: Subject, path: Path) -> str:
    if not subject.settled(path):
        return f"{path} is gone already, or in use again: left alone"
    path.unlink()
    return f"removed {path}"


def _rmdir(subject: Subject, path: Path) -> str:
    if not subject.settled(path):
        return f"{path} is gone already, or in use again: left alone"
    path.rmdir()
    return f"removed the empty {path}"


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
