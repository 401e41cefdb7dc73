"""Rules and scopes. Pure: paths are compared as text, so every target is canonical before it gets here.

    target /a, recursive        /a and everything beneath it
    target /a, not recursive    /a and its direct children

The permission of a path is the highest of the allow rules that match it. A deny rule caps it strictly below its own
level: a deny of `write` leaves `read`, a deny of `read` leaves nothing. The lowest cap counts. The order of rules does
not matter.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from meta.errors import BadInput, Refused
from meta.wire.pod import Permission, ScopeRule

READ, WRITE = Permission.READ, Permission.WRITE

_LEVEL = {READ: 1, WRITE: 2}
_NO_CAP = 2
_PERMISSIONS = (None, READ, WRITE)
_FRESH = "\0"
"""A name that no target has: it stands for every child that no rule names."""
_SHOWN = 200


class NotSubset(Refused):
    """A scope that gives more than the one it is taken from. `rule` is the first rule that does."""

    def __init__(self, rule: Rule, reason: str) -> None:
        super().__init__(f"{rule.text} cannot be delegated: {reason}", "give a part of the scope that you have")
        self.rule = rule


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One rule. `target` is a canonical absolute path. Raise BadInput for one that is not in its shortest form."""

    target: str
    permission: Permission
    recursive: bool = True

    def __post_init__(self) -> None:
        _check_normal(self.target)

    @property
    def text(self) -> str:
        """Return the rule as a person reads it: `write /a`, `read /b [non-recursive]`."""
        return f"{self.permission} {self.target[:_SHOWN]!r}{'' if self.recursive else ' [non-recursive]'}"

    def matches(self, path: str) -> bool:
        """Return True if a canonical path is the target or, as far as the rule reaches, beneath it."""
        if path == self.target:
            return True
        return _is_beneath(path, self.target) if self.recursive else _parent(path) == self.target

    def contains(self, other: Rule) -> bool:
        """Return True if every path that `other` matches is one of this rule. Permissions do not count."""
        if self.recursive:
            return other.target == self.target or _is_beneath(other.target, self.target)
        return not other.recursive and other.target == self.target

    def overlaps(self, other: Rule) -> bool:
        """Return True if a path exists that both match. Permissions do not count."""
        if self.recursive and other.recursive:
            return self.contains(other) or other.contains(self)
        if self.recursive:
            return self.matches(other.target) or _parent(self.target) == other.target
        if other.recursive:
            return other.overlaps(self)
        return self.matches(other.target) or other.matches(self.target)

    def wire(self) -> ScopeRule:
        """Return the rule as the pod protocol carries it."""
        return ScopeRule(target=self.target, permission=self.permission, recursive=self.recursive)


_Row = tuple[int, int, int, int]
"""Of one target: the level of its recursive and of its other allow rules, and the cap of its denies likewise."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be read and written. Raise BadInput without an allow rule. Rules are sorted, each once."""

    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...] = ()
    _rows: dict[str, _Row] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.allow:
            raise BadInput("a scope without an allow rule gives nothing", "name at least one path to read or to write")
        object.__setattr__(self, "allow", tuple(sorted(set(self.allow))))
        object.__setattr__(self, "deny", tuple(sorted(set(self.deny))))
        rows: dict[str, _Row] = {}
        for rule in self.allow:
            deep, near, deep_cap, near_cap = rows.get(rule.target, _NOTHING)
            level = _LEVEL[rule.permission]
            deep, near = (max(deep, level), near) if rule.recursive else (deep, max(near, level))
            rows[rule.target] = (deep, near, deep_cap, near_cap)
        for rule in self.deny:
            deep, near, deep_cap, near_cap = rows.get(rule.target, _NOTHING)
            cap = _LEVEL[rule.permission] - 1
            deep_cap, near_cap = (min(deep_cap, cap), near_cap) if rule.recursive else (deep_cap, min(near_cap, cap))
            rows[rule.target] = (deep, near, deep_cap, near_cap)
        object.__setattr__(self, "_rows", rows)

    def permission(self, path: str) -> Permission | None:
        """Return what may be done with a canonical path; None is nothing. Raise BadInput for any other path."""
        _check_normal(path)
        return _PERMISSIONS[self._level(path)]

    def covers(self, rule: Rule) -> bool:
        """Return True if one allow rule of at least its permission contains a rule, and no deny touches it."""
        return self._is_within_one(rule) and not any(deny.overlaps(rule) for deny in self._caps(rule))

    def take(self, allow: Iterable[Rule], deny: Iterable[Rule] = ()) -> Scope:
        """Return a scope to delegate: these rules, and the denies of this scope that reach into them.

        Raise NotSubset for a rule that no single rule of this scope contains, BadInput without an allow rule.
        """
        child = Scope(tuple(allow), tuple(deny))
        inherited = [cap for rule in child.allow for cap in self._caps(rule) if cap.overlaps(rule)]
        child = Scope(child.allow, (*child.deny, *inherited))
        self.check_fits(child)
        return child

    def check_fits(self, child: Scope) -> None:
        """Raise NotSubset if `child` is not within this scope, its denies included.

        Each of its allow rules is contained in one allow rule of at least its permission, and each deny of this scope
        that reaches into one is kept by the child's denies.
        """
        for rule in child.allow:
            if not self._is_within_one(rule):
                raise NotSubset(rule, "no single rule of the scope covers it")
            for cap in self._caps(rule):
                if cap.overlaps(rule) and not _is_kept(cap, rule, child.deny):
                    raise NotSubset(rule, f"the scope denies {cap.text} in it, and the delegated scope does not")

    def without(self, rules: Iterable[Rule]) -> Scope:
        """Return this scope without the right to write where these rules match."""
        taken = (Rule(rule.target, WRITE, rule.recursive) for rule in rules)
        return Scope(self.allow, (*self.deny, *taken))

    @property
    def writes(self) -> tuple[Rule, ...]:
        """Return the allow rules of `write`."""
        return tuple(rule for rule in self.allow if rule.permission is WRITE)

    def _caps(self, rule: Rule) -> Iterator[Rule]:
        return (deny for deny in self.deny if _LEVEL[deny.permission] <= _LEVEL[rule.permission])

    def _is_within_one(self, rule: Rule) -> bool:
        level = _LEVEL[rule.permission]
        return any(_LEVEL[allow.permission] >= level and allow.contains(rule) for allow in self.allow)

    def _level(self, path: str) -> int:
        rows = self._rows
        level, cap = 0, _NO_CAP
        at, distance = path, 0
        while True:
            row = rows.get(at)
            if row is not None:
                deep, near, deep_cap, near_cap = row
                level, cap = max(level, deep), min(cap, deep_cap)
                if distance < 2:
                    level, cap = max(level, near), min(cap, near_cap)
            if at == "/":
                return min(level, cap)
            at, distance = _parent(at), distance + 1


_NOTHING: _Row = (0, 0, _NO_CAP, _NO_CAP)


def common_write(first: Scope, second: Scope) -> str | None:
    """Return a path that both scopes may write, denies included; None if there is none.

    A rule reaches its target, the children of it, or everything beneath. So the targets of all rules, a child of each
    and a grandchild of each that no rule names stand for every path there is.
    """
    targets = {rule.target for scope in (first, second) for rule in (*scope.allow, *scope.deny)}
    for target in sorted(targets):
        child = posixpath.join(target, _FRESH)
        for path in (target, child, posixpath.join(child, _FRESH)):
            if first._level(path) == second._level(path) == _LEVEL[WRITE]:
                return path.replace(_FRESH, "*")
    return None


def overlaps(first: Scope, second: Scope) -> bool:
    """Return True if a path exists that both scopes may write, denies included. Reading never conflicts."""
    return common_write(first, second) is not None


def _is_kept(cap: Rule, rule: Rule, denies: Iterable[Rule]) -> bool:
    """Return True if one of the denies caps at least as low wherever `cap` reaches into `rule`."""
    return any(
        _LEVEL[deny.permission] <= _LEVEL[cap.permission] and (deny.contains(cap) or deny.contains(rule))
        for deny in denies
    )


def _parent(path: str) -> str:
    """Return the folder of a canonical path; the root is its own."""
    return path[: path.rfind("/")] or "/"


def _is_beneath(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder if folder == "/" else f"{folder}/")


def _check_normal(path: str) -> None:
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path or _FRESH in path:
        raise BadInput(
            f"{path[:_SHOWN]!r} is not a canonical path",
            "give an absolute path without '.', '..', '//' or a '/' at the end",
        )
