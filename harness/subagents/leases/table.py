"""The allocation table of one container. Pure: each decision takes a table and returns another.

An allocation is what was given to a pod, as it was given. What the pod may write now is less: it has lent to its
children what they hold. So no two pods may write the same path (`effective_scope`), and reading never conflicts.

    reserve   the scope is taken from the spawner's other plans; the spawner still writes there, and owns the allocation
    adopt     the child's process owns it; until it holds the scope, it may read there
    hold      the spawner has ended what could still write there: the child may write, the spawner may not
    release   the allocation is gone; what the pod lent goes on under the pod above it, and so flows back up

Every function raises a HiveError that says what to do, and the given table is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.process.identity import ProcessIdentity
from meta.scope.rules import NotSubset, Rule, Scope, common_write

NAME_LIMIT = 32
SOCKET_LIMIT = 107
"""Bytes of the path of a unix socket, without the NUL."""
TABLE_LIMIT = 100
"""Pods of one container, at most."""
RULES_LIMIT = 500
"""Rules of one delegated scope, with the denies that it inherits."""

_NAME = re.compile(rf"[a-z](?:[a-z0-9-]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?")
_SHOWN = 60

Alive = Callable[[ProcessIdentity], bool]
"""Return True if a process runs, and if nobody can say: a lease is never taken away in doubt."""


class State(StrEnum):
    """How far a delegation has come."""

    RESERVED = "reserved"
    HELD = "held"


class WriteConflict(Conflict):
    """Two pods would write the same path. `owner` is the deepest pod that writes there."""

    def __init__(self, owner: str, path: str) -> None:
        super().__init__(
            f"the pod {owner} writes {path[:200]!r}", f"stop {owner}, wait until it has ended, or choose another scope"
        )
        self.owner = owner


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one pod was given. `parent` is None at the top.

    `origin` is the pod that it belonged to before that one ended: a pod of this name that comes back gets it back.
    """

    pod: str
    owner: ProcessIdentity
    socket: str
    scope: Scope
    parent: str | None = None
    state: State = State.HELD
    adopted: bool = True
    origin: str | None = None

    def __post_init__(self) -> None:
        check_name(self.pod)
        check_socket(self.socket)


@dataclass(frozen=True, slots=True)
class Table:
    """The allocations by the names of their pods. Raise BadInput if they are no forest with each name once."""

    allocations: tuple[Allocation, ...] = ()

    def __post_init__(self) -> None:
        parents = {each.pod: each.parent for each in self.allocations}
        if len(parents) != len(self.allocations):
            raise BadInput("two allocations have one name", "each pod has a name of its own")
        for pod in parents:
            above, steps = parents[pod], 0
            while above is not None:
                steps += 1
                if above not in parents or steps > len(parents):
                    raise BadInput(f"the pod {pod} has no way up to the top", "a parent is a pod of the same table")
                above = parents[above]

    def find(self, pod: str) -> Allocation | None:
        """Return the allocation of a pod; None if it has none."""
        return next((each for each in self.allocations if each.pod == pod), None)

    def get(self, pod: str) -> Allocation:
        """Return the allocation of a pod. Raise NotFound if it has none."""
        found = self.find(pod)
        if found is None:
            raise NotFound(f"the pod {pod[:_SHOWN]!r} has no scope", "it has ended, or what had reserved it has")
        return found

    def children(self, pod: str) -> tuple[Allocation, ...]:
        """Return the allocations that were taken from a pod's."""
        return tuple(each for each in self.allocations if each.parent == pod)

    def depth(self, pod: str) -> int:
        """Return the number of pods above a pod."""
        return sum(1 for _ in self._above(pod))

    def _above(self, pod: str) -> Iterator[str]:
        above = self.get(pod).parent
        while above is not None:
            yield above
            above = self.get(above).parent


def check_name(pod: str) -> str:
    """Return the name of a pod: lower-case ASCII letters, digits and dashes. Raise BadInput."""
    if not _NAME.fullmatch(pod):
        raise BadInput(
            f"{pod[:_SHOWN]!r} is not a name of a pod",
            f"give at most {NAME_LIMIT} of a-z, 0-9 and '-', a letter first and no '-' at the end, like tests-2",
        )
    return pod


def check_socket(path: str) -> str:
    """Return the absolute path of a unix socket. Raise BadInput for one that the kernel cannot bind."""
    if not path.startswith("/") or "\0" in path or len(path.encode("utf-8", "surrogatepass")) > SOCKET_LIMIT:
        raise BadInput(
            f"{path[:_SHOWN]!r} is not a path of a socket", f"give an absolute path of at most {SOCKET_LIMIT} bytes"
        )
    return path


def below(table: Table, pod: str) -> tuple[Allocation, ...]:
    """Return the allocations of all pods below a pod."""
    return tuple(table.get(each) for each in _below(table, pod))


def effective_scope(table: Table, pod: str) -> Scope:
    """Return what a pod may do now: without the right to write where its children hold it, or if it only reserved it.

    No two of these overlap. Raise NotFound.
    """
    mine = table.get(pod)
    if mine.state is not State.HELD:
        return mine.scope.without(mine.scope.writes)
    lent = [child.scope for child in table.children(pod) if child.state is State.HELD]
    return mine.scope.without(rule for scope in lent for rule in scope.writes)


def waiting(table: Table, pod: str) -> tuple[Allocation, ...]:
    """Return the children of a pod that live and still wait for the right to write: `hold` is due."""
    return tuple(child for child in table.children(pod) if child.adopted and child.state is State.RESERVED)


def register(table: Table, pod: str, owner: ProcessIdentity, socket: str, scope: Scope, alive: Alive) -> Table:
    """Enter a pod at the top, whose scope was taken from no other pod.

    The same process again, or a new one in place of a dead one, keeps the children that live; reservations that its
    predecessor was still at are dropped. Raise Conflict if a pod of this name lives or a child does not fit into the
    new scope, WriteConflict if another pod writes where this one would.
    """
    entered = Allocation(pod, owner, socket, scope)
    old = table.find(pod)
    if old is not None and old.parent is None and (old.owner == owner or not alive(old.owner)):
        stale = {child.pod for child in table.children(pod) if not child.adopted}
        others = (each for each in table.allocations if each.pod not in stale)
        table = Table(tuple(entered if each.pod == pod else each for each in others))
        table = reclaim(table, alive)[0]
    else:
        table = reclaim(table, alive)[0]
        _check_is_new(table, pod)
        table = _add(table, entered)
    table = Table(tuple(_return_to(entered, each) for each in table.allocations))
    for child in table.children(pod):
        try:
            scope.check_fits(child.scope)
        except NotSubset as error:
            raise Conflict(
                f"the pod {child.pod} lives and has more than the scope of {pod}: {error.summary}", f"stop {child.pod}"
            ) from error
    _check_free(table, scope, spared={pod, *_below(table, pod)})
    return table


def reserve(
    table: Table, pod: str, spawner: str, socket: str, allow: Iterable[Rule], deny: Iterable[Rule] = ()
) -> Table:
    """Take a scope from a spawner's for a child that is still to start. The denies in it are inherited.

    Raise Conflict for a name that exists or a spawner that does not hold its scope, NotSubset for more than the
    spawner has, WriteConflict for what another child has, NotFound for a spawner that is unknown.
    """
    above = table.get(spawner)
    check_name(pod)
    _check_is_new(table, pod)
    if above.state is not State.HELD or not above.adopted:
        raise Conflict(f"the pod {spawner} does not hold its scope yet", "spawn when it has begun its first turn")
    scope = above.scope.take(allow, deny)
    if len(scope.allow) + len(scope.deny) > RULES_LIMIT:
        raise Refused(
            f"the scope has {len(scope.allow) + len(scope.deny)} rules with the denies that it inherits",
            f"the limit is {RULES_LIMIT}; delegate fewer paths at once",
        )
    _check_free(table, scope, spared={spawner})
    return _add(table, Allocation(pod, above.owner, socket, scope, spawner, State.RESERVED, adopted=False))


def adopt(table: Table, pod: str, owner: ProcessIdentity) -> Table:
    """Make a child's process the owner of what was reserved for it. The same process again changes nothing.

    Raise NotFound if the reservation is gone (its spawner died, say): the child has nothing, and ends. Raise Conflict
    if another process has it.
    """
    mine = table.get(pod)
    if mine.adopted and mine.owner != owner:
        raise Conflict(f"another process is the pod {pod} already", "end; a pod is one process")
    return _put(table, replace(mine, owner=owner, adopted=True))


def hold(table: Table, pod: str) -> Table:
    """Give a child the right to write that was reserved for it: its spawner cannot write there any more.

    The caller has made sure of that first. A pod that holds its scope already stays as it is. Raise NotFound.
    """
    return _put(table, replace(table.get(pod), state=State.HELD))


def release(table: Table, pod: str) -> Table:
    """Remove a pod; harmless twice. Its children go on under the pod above it; what it was starting is dropped."""
    gone = table.find(pod)
    if gone is None:
        return table
    dropped = {pod, *(child.pod for child in table.children(pod) if not child.adopted)}
    origin = gone.origin or gone.pod
    kept = (each for each in table.allocations if each.pod not in dropped)
    return Table(
        tuple(
            replace(each, parent=gone.parent, origin=origin if gone.parent is None else None)
            if each.parent == pod
            else each
            for each in kept
        )
    )


def reclaim(table: Table, alive: Alive) -> tuple[Table, tuple[str, ...]]:
    """Release what belongs to processes that have ended. Return the table, and the names of these pods."""
    known = {owner: alive(owner) for owner in {each.owner for each in table.allocations}}
    dead = tuple(each.pod for each in table.allocations if not known[each.owner])
    for pod in dead:
        table = release(table, pod)
    return table, dead


def _check_is_new(table: Table, pod: str) -> None:
    if table.find(pod) is not None:
        raise Conflict(f"a pod with the name {pod} exists", "choose another name, or stop that one first")
    if len(table.allocations) >= TABLE_LIMIT:
        raise Refused(f"there are {TABLE_LIMIT} pods", "stop one that is not needed")


def _check_free(table: Table, scope: Scope, spared: set[str]) -> None:
    """Raise WriteConflict with the deepest pod that has what `scope` would write. A reservation counts."""
    taken = []
    for each in table.allocations:
        if each.pod not in spared:
            theirs = effective_scope(table, each.pod) if each.state is State.HELD else each.scope
            path = common_write(scope, theirs)
            if path is not None:
                taken.append((table.depth(each.pod), each.pod, path))
    if taken:
        _, owner, path = max(taken)
        raise WriteConflict(owner, path)


def _below(table: Table, pod: str) -> Iterator[str]:
    for child in table.children(pod):
        yield child.pod
        yield from _below(table, child.pod)


def _return_to(entered: Allocation, each: Allocation) -> Allocation:
    """Return the allocation under the pod that it belonged to before that one ended, if that has come back."""
    if each.parent is None and each.origin == entered.pod and each.pod != entered.pod:
        return replace(each, parent=entered.pod, origin=None)
    return each


def _add(table: Table, new: Allocation) -> Table:
    return Table((*table.allocations, new))


def _put(table: Table, changed: Allocation) -> Table:
    return Table(tuple(changed if each.pod == changed.pod else each for each in table.allocations))
