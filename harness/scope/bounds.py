"""What a CLI is kept to, and how this kernel does it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.scope.mounts import Mounts, read_mounts
from harness.scope.plan import NOTHING, Entries, Needs, plan
from meta.errors import BadInput, Refused
from meta.process import landlock
from meta.process.landlock import HOLDS, Grant, Grants, held_by
from meta.scope.paths import is_moved
from meta.scope.rules import Rule, Scope
from meta.wire.pod import Permission

Json = dict[str, Any]

EVERYTHING = Scope((Rule("/", Permission.WRITE),))
"""What an agent without a scope has."""

_DEVICES = "/dev"
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """A scope, what the CLI needs beside it, and what of it others may write meanwhile. All paths are canonical.

    `soft`: the operator lets the CLI start although the kernel cannot hold the scope.
    """

    scope: Scope
    needs: Needs = NOTHING
    delegated: tuple[Rule, ...] = ()
    soft: bool = False

    def encode(self) -> Json:
        """Return it as JSON, for another process."""
        scope = {"allow": _encoded(self.scope.allow), "deny": _encoded(self.scope.deny)}
        needs = {"read": list(self.needs.read), "write": list(self.needs.write)}
        return {"scope": scope, "needs": needs, "delegated": _encoded(self.delegated), "soft": self.soft}


def decode_bounds(value: Mapping[str, Any]) -> Bounds:
    """Return what was encoded. Raise BadInput."""
    try:
        scope, needs = value["scope"], value["needs"]
        return Bounds(
            Scope(_decoded(scope["allow"]), _decoded(scope["deny"])),
            Needs(tuple(map(str, needs["read"])), tuple(map(str, needs["write"]))),
            _decoded(value["delegated"]),
            value["soft"] is True,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"not the bounds of a CLI: {error}", "is it of another version of hive?") from error


def grants_of(bounds: Bounds, version: int | None = None) -> Grants | None:
    """Return what Landlock is to hold now, None for nothing: that is so only if the operator allows a soft scope.

    This lists folders, so it runs under the CLI's own uid. Raise Refused if the scope cannot be held.
    """
    abi = landlock.abi() if version is None else version
    if abi < HOLDS and not bounds.soft:
        raise Refused(
            f"the scope of agent.toml cannot be held: {held_by(abi)}",
            f"it needs a kernel with Landlock of ABI {HOLDS} (Linux 6.2); or allow a soft scope by HIVE_SOFT_SCOPES",
        )
    _check_targets(bounds)
    if abi == 0:
        return None
    scope = without_mounted(bounds.scope, read_mounts())
    grants = plan(scope, bounds.needs, list_folder, bounds.delegated)
    if _DEVICES in bounds.needs.read:
        grants += (Grant(_DEVICES, landlock.CHANGE, optional=True),)
    return grants


def without_mounted(scope: Scope, mounts: Mounts) -> Scope:
    """Return the scope without the denies that mounts hold: the backend made them when the agent started.

    A folder in a writable one could be moved away, with its mounts in it, unless it is a mount itself.
    """

    def is_held(rule: Rule) -> bool:
        if not rule.recursive or not mounts.hold(rule):
            return False
        allowed = Scope(scope.allow)
        movable = (
            path for path in _above(rule.target) if allowed.permission(posixpath.dirname(path)) is Permission.WRITE
        )
        return all(mounts.are_at(path) for path in movable)

    return Scope(scope.allow, tuple(rule for rule in scope.deny if not is_held(rule)))


def list_folder(folder: str) -> Entries | None:
    """Return what is in a folder but symlinks, None if it is none. Raise Refused if it cannot be looked into."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(
            f"the scope cannot be held: {folder[:_SHOWN]!r} cannot be listed: {error.strerror}",
            "deny no part of a folder that the agent may not read",
        ) from error
    return _entries(entries)


def _entries(entries: Any) -> Iterator[tuple[str, bool]]:
    with entries:
        for entry in entries:
            if not entry.is_symlink():
                yield entry.name, entry.is_dir(follow_symlinks=False)


def _check_targets(bounds: Bounds) -> None:
    for rule in (*bounds.scope.allow, *bounds.scope.deny):
        if is_moved(rule.target):
            raise Refused(
                f"the scope names {rule.target[:_SHOWN]!r}, which is a link, leads over one, or cannot be reached",
                f"name where it leads: {os.path.realpath(rule.target)[:_SHOWN]!r}",
            )
    for rule in bounds.scope.allow:
        if not os.path.lexists(rule.target):
            raise Refused(
                f"the scope allows {rule.target[:_SHOWN]!r}, and there is nothing yet",
                "make it by `hive shell`, or allow the folder that it is to be in",
            )


def _above(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path


def _encoded(rules: Iterable[Rule]) -> list[list[object]]:
    return [[rule.target, str(rule.permission), rule.recursive] for rule in rules]


def _decoded(rows: Iterable[Any]) -> tuple[Rule, ...]:
    return tuple(Rule(target, Permission(permission), recursive is True) for target, permission, recursive in rows)
