"""The grants by which Landlock holds a scope. Pure but for `list_folder`.

Landlock only allows, and always everything beneath a folder. So a folder in which a rule gives less somewhere is not
granted as a whole: what is in it now is granted one by one, and it takes no new entries. Likewise for a folder that a
sub-agent may write meanwhile. A rule that is not recursive is held as long as its folder has no folders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from meta.errors import Refused
from meta.process import landlock
from meta.process.landlock import Grant, Grants
from meta.scope.rules import READ, WRITE, Rule, Scope

MOST = 4000
"""Grants of one CLI, and entries that are listed for them. As many take some 10 ms."""
DEPTH = 64
"""Names in the path of a rule."""
CHANGING = ("/proc", "/sys", "/dev")
"""Folders whose entries come and go by themselves: nothing in them can be granted one by one."""

_LEVELS = {None: 0, READ: 1, WRITE: 2}
_RIGHTS = {1: landlock.READ, 2: landlock.WRITE}
_FRESH = "\x01"
"""A name that no rule has: it stands for every entry that none names."""

Entries = Iterable[tuple[str, bool]]
ListFolder = Callable[[str], Entries | None]
"""Returns the names in a folder but those of symlinks, each with True for a folder; None if it is none."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a CLI needs to start and to work, whatever its scope says: canonical paths."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


NOTHING = Needs()


def plan(scope: Scope, needs: Needs, list_folder: ListFolder, delegated: Sequence[Rule] = ()) -> Grants:
    """Return the grants of a CLI with this scope, while others hold what is `delegated`.

    Raise Refused if Landlock cannot hold a rule, or the CLI could not work under it.
    """
    base = [Rule(path, READ) for path in needs.read] + [Rule(path, WRITE) for path in needs.write]
    layers = [scope.without(delegated)]
    if base:
        layers.append(Scope(tuple(base), scope.deny))
    _check(scope, base, layers)
    targets = [rule.target for layer in layers for rule in (*layer.allow, *layer.deny)]
    walk = _Walk(layers, list_folder)
    walk.visit("/", _tree(targets), 0)
    return tuple(sorted(walk.grants))


def _check(scope: Scope, base: Iterable[Rule], layers: Sequence[Scope]) -> None:
    for rule in base:
        if _LEVELS[layers[-1].permission(rule.target)] < _LEVELS[rule.permission]:
            raise Refused(
                f"the scope denies {rule.target}, and the CLI has to {rule.permission} there",
                "deny only what is beneath it",
            )
    for rule in scope.deny:
        if any(rule.target == folder or rule.target.startswith(f"{folder}/") for folder in CHANGING):
            raise Refused(
                f"the scope denies {rule.target}, and nothing can hold that: what is there comes and goes by itself",
                "leave the rule out",
            )


_Tree = dict[str, "_Tree"]
"""The names that rules have beneath a folder."""


def _tree(targets: Iterable[str]) -> _Tree:
    root: _Tree = {}
    for target in targets:
        names = [name for name in target.split("/") if name]
        if len(names) > DEPTH:
            raise Refused(f"{target[:200]!r} is too deep for a scope", f"a path of {DEPTH} names is the limit")
        node = root
        for name in names:
            node = node.setdefault(name, {})
    return root


@dataclass(slots=True)
class _Walk:
    layers: Sequence[Scope]
    list_folder: ListFolder
    grants: list[Grant] = field(default_factory=list)
    left: int = MOST
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def visit(self, folder: str, tree: _Tree, granted: int) -> None:
        """Grant what is at and beneath a path. `granted`: the level of a grant above it, which holds here too."""
        low, high = self.range(folder, tree)
        if low > granted:
            self.add(folder, _RIGHTS[low])
            granted = low
        if high <= granted:
            return
        fresh, own = posixpath.join(folder, _FRESH), self.level(folder)
        others = self.range(fresh, {})[1]
        if own <= granted and others <= granted:  # only what rules name is worth a look
            for name, beneath in tree.items():
                self.visit(posixpath.join(folder, name), beneath, granted)
            return
        entries = self.list_folder(folder)
        if entries is None:
            self.grant_file(folder, granted)
        else:
            found = list(self.counted(folder, entries))
            self.grant_each(folder, tree, found, self.grant_flat(folder, tree, found, granted))

    def grant_flat(self, folder: str, tree: _Tree, found: Entries, granted: int) -> int:
        """Grant a folder without folders, in which no file has less than others may have. Return what is granted."""
        level = min(self.level(folder), self.level(posixpath.join(folder, _FRESH)))
        named = (self.level(posixpath.join(folder, name)) for name in tree)
        if level <= granted or any(is_folder for _, is_folder in found) or any(each < level for each in named):
            return granted
        self.add(folder, landlock.FILES if level == _LEVELS[WRITE] else landlock.READ)
        return level

    def grant_each(self, folder: str, tree: _Tree, found: Entries, granted: int) -> None:
        for name, is_folder in found:
            path = posixpath.join(folder, name)
            if is_folder:
                self.visit(path, tree.get(name, {}), granted)
            else:
                self.grant_file(path, granted)

    def grant_file(self, path: str, granted: int) -> None:
        level = self.level(path)
        if level > granted:
            self.add(path, _RIGHTS[level], file=True)

    def range(self, folder: str, tree: _Tree) -> tuple[int, int]:
        """Return the least and the greatest level of a path and of everything that may be beneath it."""
        known = self.ranges.get(folder)
        if known is None:
            fresh = posixpath.join(folder, _FRESH)
            levels = [self.level(path) for path in (folder, fresh, posixpath.join(fresh, _FRESH))]
            for name, beneath in tree.items():
                levels += self.range(posixpath.join(folder, name), beneath)
            known = self.ranges[folder] = (min(levels), max(levels))
        return known

    def level(self, path: str) -> int:
        return max(_LEVELS[layer.permission(path)] for layer in self.layers)

    def add(self, path: str, right: str, *, file: bool = False) -> None:
        self.count(path)
        self.grants.append(Grant(path, right, optional=True, file=file))  # what goes meanwhile is no loss

    def counted(self, folder: str, entries: Entries) -> Iterator[tuple[str, bool]]:
        for entry in entries:
            self.count(folder)
            yield entry

    def count(self, path: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise Refused(
                f"the scope cannot be held: there is too much beside what it denies or lends in {path[:200]!r}",
                f"at most {MOST} entries can be granted one by one: put what is denied in a folder of its own",
            )
