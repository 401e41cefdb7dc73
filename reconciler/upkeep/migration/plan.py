"""The plan of a migration: the steps that are left, from what was seen on the disk. Pure.

The order is that of the steps below: first every repo, then the work trees and logins, then meta in one commit, then
the containers, the owners of files, and the marker. What each container boots follows from meta, by the ordinary loop.
A step that was done is not planned again, or changes nothing when it is done again. So a daemon that was killed between
two steps goes on from the plan of the next start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meta.applied.older import SKIP, Reason, Shape
from meta.names import AgentName


@dataclass(frozen=True, slots=True)
class Step:
    """One step for one agent."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class Restore(Step):
    """Put the older repo back whose exchange was cut short. Done even if the migration is deferred."""


@dataclass(frozen=True, slots=True)
class Convert(Step):
    """Make the repo bare, its flake module-only, and move `deployed/0` to that commit."""


@dataclass(frozen=True, slots=True)
class Tidy(Step):
    """Move the older repo and work tree to `applied/<n>/older`."""


@dataclass(frozen=True, slots=True)
class MoveTree(Step):
    """Rename `agents/<n>/config` to `proposed/<n>/config`."""


@dataclass(frozen=True, slots=True)
class MoveLogin(Step):
    """Rename `agents/<n>/claude` to `agents/<n>/home/.claude`."""


@dataclass(frozen=True, slots=True)
class AddRemote(Step):
    """Add the remote `applied` to the work tree in `proposed/<n>/config`."""


@dataclass(frozen=True, slots=True)
class Enter(Step):
    """Enter the agent into meta. All of them are one commit."""


@dataclass(frozen=True, slots=True)
class Adopt(Step):
    """Note that the container of an older hive is this hive's. Root checks that by its own file."""


@dataclass(frozen=True, slots=True)
class Give(Step):
    """Give the agent's files, and its proposed work tree, to their uids. Meta has the uids."""


@dataclass(frozen=True, slots=True)
class Mark(Step):
    """Note in the repo that the migration of the agent is done."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One agent as it was seen on the disk.

    `converted`: its repo came from an older hive. `done`: the marker says that nothing is left to do. `known`: meta has
    it, or its tombstone. `listed`: it has a container of the older hive, or there is no list of containers.
    `container`: that container is to be adopted. `tree`: there is a proposed work tree. `tree_to_move` and
    `login_to_move`: these lie at their older place, and nothing is at the new one.
    """

    agent: AgentName
    shape: Shape
    converted: bool = False
    done: bool = False
    known: bool = False
    listed: bool = True
    container: bool = False
    tree: bool = False
    tree_to_move: bool = False
    login_to_move: bool = False
    fault: Reason | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in order, and the agents that are left as they are."""

    steps: tuple[Step, ...] = ()
    left: tuple[tuple[AgentName, Reason], ...] = ()

    @property
    def agents(self) -> tuple[AgentName, ...]:
        """Every agent that a step changes, sorted."""
        return tuple(sorted({step.agent for step in self.steps}))


DEFERRED = Reason(f"{SKIP} defers its migration", f"unset {SKIP} and restart the daemon")


def plan(seen: tuple[Seen, ...], *, deferred: bool, gives: bool) -> Plan:
    """Return the plan. `deferred`: nothing is begun or continued. `gives`: hive hands out uids itself."""
    agents = sorted(seen, key=lambda one: one.agent)
    restores = tuple(Restore(one.agent) for one in agents if one.shape is Shape.TAKEN)
    if deferred:
        waiting = tuple((one.agent, DEFERRED) for one in agents if _older(one) or _unfinished(one))
        return Plan(restores, waiting)
    wanted = [one for one in agents if one.fault is None and (_older(one) or _unfinished(one))]
    left = tuple((one.agent, one.fault) for one in agents if one.fault is not None)
    converts = tuple(Convert(one.agent) for one in wanted if _older(one))
    tidies = tuple(Tidy(one.agent) for one in wanted if one.shape is not Shape.CURRENT)
    marks = tuple(Mark(one.agent) for one in wanted)
    return Plan((*restores, *converts, *tidies, *_files(wanted), *_meta(wanted, gives=gives), *marks), left)


def _older(one: Seen) -> bool:
    return one.shape in (Shape.OLDER, Shape.TAKEN)


def _unfinished(one: Seen) -> bool:
    """Return True for an agent whose migration a kill cut short. The marker keeps all others from another look."""
    return one.shape is Shape.UNTIDY or (one.converted and not one.done)


def _files(wanted: list[Seen]) -> Iterator[Step]:
    yield from (MoveTree(one.agent) for one in wanted if one.tree_to_move)
    yield from (MoveLogin(one.agent) for one in wanted if one.login_to_move)
    yield from (AddRemote(one.agent) for one in wanted if one.tree or one.tree_to_move)


def _meta(wanted: list[Seen], *, gives: bool) -> Iterator[Step]:
    yield from (Enter(one.agent) for one in wanted if one.listed and not one.known)
    yield from (Adopt(one.agent) for one in wanted if one.listed and one.container)
    if gives:
        yield from (Give(one.agent) for one in wanted if one.listed)
