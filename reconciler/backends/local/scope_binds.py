"""The mounts that hold what the scope of an agent denies: made at its start, before anything of it runs.

A denied path becomes a mount of its own, read-only or one that nobody may enter, so that what is beside it stays free.
A folder above it that the agent may move becomes a mount too: it can be neither moved nor removed then. Only what is
there at the start gets one; the harness finds out which mounts there are, and has Landlock hold the rest.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta import own_file
from meta.agent_toml.scope import ScopeRule
from meta.agent_toml.settings import SETTINGS_FILE, parse_settings
from meta.errors import HiveError
from meta.scope.rules import WRITE, Rule, Scope
from meta.wire.pod import Permission

CLOSED = "closed"
"""The folder of what is mounted where nothing may be read, in the backend's folder of the agent."""

Bind = tuple[Path, Path]
"""A path on the host and its path inside."""


@dataclass(frozen=True, slots=True)
class Binds:
    """The mounts to add to a sandbox."""

    read_only: tuple[Bind, ...] = ()
    writable: tuple[Bind, ...] = ()


def scope_binds(tree: Path, folder: Path, places: Sequence[Bind]) -> Binds:
    """Return the mounts for the agent.toml of a generation. `places` are the agent's own folders, `folder` is hive's.

    Nothing of the agent runs now. So what is no link here is still none when bubblewrap looks, a moment later.
    """
    scope = _scope(tree)
    if scope is None:
        return Binds()
    allowed = Scope(scope.allow)
    denied: dict[str, Bind] = {}
    movable: set[Bind] = set()
    for rule in sorted(scope.deny, key=lambda rule: (rule.permission is WRITE, rule.target)):  # a closed one wins
        for host, inside in places:
            path = _plain(host, inside, rule)
            if path is None or any(_is_within(rule.target, other) for other in denied):
                continue
            denied[rule.target] = (path if rule.permission is WRITE else _closed(folder, path), Path(rule.target))
            movable |= {(host / above.relative_to(inside), above) for above in _movable(rule, inside, allowed)}
    free = (bind for bind in movable if not any(_is_within(str(bind[1]), other) for other in denied))
    return Binds(tuple(denied.values()), tuple(sorted(free)))


def _scope(tree: Path) -> Scope | None:
    try:
        settings = parse_settings(own_file.read(tree / SETTINGS_FILE))
    except (HiveError, OSError):  # its harness says what is wrong, and does not start
        return None
    if settings.scope is None:
        return None
    allow, deny = _rules(settings.scope.allow), _rules(settings.scope.deny)
    return Scope(allow, deny) if allow else None


def _rules(rules: Sequence[ScopeRule]) -> tuple[Rule, ...]:
    """Return the rules with absolute targets. Others are below agent.toml, in a folder that is read-only anyway."""
    return tuple(
        Rule(f"/{posixpath.normpath(rule.target).lstrip('/')}", Permission(rule.permission), rule.recursive)
        for rule in rules
        if posixpath.isabs(rule.target)
    )


def _plain(host: Path, inside: Path, rule: Rule) -> Path | None:
    """Return what a recursive rule denies in an agent's folder, if it is there and nothing on the way is a link."""
    if not rule.recursive or rule.target == str(inside) or not _is_within(rule.target, str(inside)):
        return None
    path, names = host, Path(rule.target).relative_to(inside).parts
    for index, name in enumerate(names):
        path /= name
        try:
            mode = path.lstat().st_mode
        except OSError:
            return None
        if not (stat.S_ISDIR(mode) or (index == len(names) - 1 and stat.S_ISREG(mode))):
            return None
    return path


def _movable(rule: Rule, inside: Path, allowed: Scope) -> Iterator[Path]:
    """Yield the folders between an agent's own folder and a denied path that lie in one which may be written."""
    for above in Path(rule.target).parents:
        if above == inside:
            return
        if allowed.permission(str(above.parent)) is WRITE:
            yield above


def _closed(folder: Path, path: Path) -> Path:
    """Return an empty folder or file that only root could open, like what is at `path`."""
    closed = folder / CLOSED / ("folder" if path.is_dir() else "file")
    closed.parent.mkdir(mode=0o755, exist_ok=True)
    if not os.path.lexists(closed):
        if path.is_dir():
            closed.mkdir(mode=0)
        else:
            closed.touch(mode=0)
    closed.chmod(0)
    return closed


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
