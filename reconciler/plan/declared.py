"""Decide about one agent of the host's configuration: spawn, propose, approve, leave to a person, stop. Pure.

Three things are compared: the declared files, the files that meta pins (git), and the base, at which both last agreed.
See docs/decisions/0017-declared-agents.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from meta.model import Deploy, DeployKind, TagState
from meta.names import ProposalId, Sha

ABOUT = "the host's configuration"
"""The beginning of each text about an agent's declaration."""
NOT_FOLLOWED = f"{ABOUT} is not followed for now"
"""The beginning of a text about an error; hive tries again."""
IN_FLIGHT = frozenset({TagState.APPROVED, TagState.BUILDING})


class Act(StrEnum):
    """What is to be done now."""

    NOTHING = "nothing"
    SPAWN = "spawn"
    PROPOSE = "propose"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    START = "start"
    STOP = "stop"
    FORGET = "forget"


class Standing(StrEnum):
    """How a declaration and git stand to each other. The values are shown."""

    AGREES = "agrees"
    DEPLOYING = "deploying"
    GIT_MOVED = "git moved"
    CONFLICT = "conflict"
    DENIED = "denied"
    FAILED = "failed"
    REMOVED = "removed"
    BROKEN = "broken"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A proposal with declared files. `same`: they are those that are declared now. `onto` is the commit below it."""

    id: ProposalId
    state: TagState
    onto: Sha | None
    same: bool


@dataclass(frozen=True, slots=True)
class Git:
    """What meta has of an agent. `agrees`: a commit with the declared files would change nothing.

    `unchanged`: the declared files are those of the base. `moved`: there is no base, git's files are not its, or
    something was deployed since.
    """

    pin: Sha
    running: bool
    agrees: bool = False
    unchanged: bool = False
    moved: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides about one agent. `git` is None if meta does not have it.

    `known`: the record has it. `kept`: it goes on when nothing declares it any more: it is the manager, or git had it
    before it was declared. `dropped`: it was stopped because it was declared no more. `busy`: an id is in flight.
    `purging`: an earlier agent of that name is being removed. `tried` is the state of the id that was made for what
    is declared now, None if there was none. `offers` are the pending proposals from declarations.
    """

    declared: bool
    git: Git | None
    known: bool = False
    kept: bool = False
    dropped: bool = False
    busy: bool = False
    purging: bool = False
    tried: TagState | None = None
    offers: tuple[Offer, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, how it stands, and the pending id that is meant, if any."""

    act: Act
    standing: Standing
    id: ProposalId | None = None


def decide(facts: Facts) -> Verdict:
    """Return the next act. Done again after each act, until there is nothing to do; safe to repeat at any time."""
    if not facts.declared:
        return _removed(facts)
    if facts.purging or facts.busy:
        return Verdict(Act.NOTHING, Standing.DEPLOYING)
    if facts.git is None:
        if facts.tried in (TagState.FAILED, TagState.DENIED):
            return Verdict(Act.NOTHING, Standing.FAILED)
        return Verdict(Act.SPAWN, Standing.DEPLOYING)
    if facts.dropped:
        return Verdict(Act.START, Standing.DEPLOYING)
    return _compare(facts, facts.git)


def _removed(facts: Facts) -> Verdict:
    """Decide about an agent that is not declared: if it was, stop it once and leave it to a person, or to git."""
    if not facts.known:
        return Verdict(Act.NOTHING, Standing.NONE)
    if facts.offers:
        return Verdict(Act.WITHDRAW, Standing.NONE if facts.kept else Standing.REMOVED, facts.offers[0].id)
    if facts.git is None:
        return Verdict(Act.NOTHING if facts.busy else Act.FORGET, Standing.NONE)
    if not facts.dropped:
        return Verdict(Act.FORGET, Standing.NONE) if facts.kept else Verdict(Act.STOP, Standing.REMOVED)
    return Verdict(Act.FORGET, Standing.NONE) if facts.git.running else Verdict(Act.NOTHING, Standing.REMOVED)


def _compare(facts: Facts, git: Git) -> Verdict:
    if git.agrees or git.unchanged:
        standing = Standing.AGREES if git.agrees else Standing.GIT_MOVED
        if facts.offers:
            return Verdict(Act.WITHDRAW, standing, facts.offers[0].id)
        return Verdict(Act.NOTHING, standing)
    offer = next((each for each in facts.offers if each.same and each.onto == git.pin), None)
    if offer is not None:
        if git.moved:
            return Verdict(Act.NOTHING, Standing.CONFLICT, offer.id)
        return Verdict(Act.APPROVE, Standing.DEPLOYING, offer.id)
    if facts.tried is TagState.DENIED:
        return Verdict(Act.NOTHING, Standing.DENIED)
    if facts.tried is TagState.FAILED:
        return Verdict(Act.NOTHING, Standing.FAILED)
    return Verdict(Act.PROPOSE, Standing.CONFLICT if git.moved else Standing.DEPLOYING)


def base_of(declared: Iterable[Deploy], agreed: tuple[ProposalId, Sha] | None) -> tuple[ProposalId, Sha] | None:
    """Return the base: the newest deployed id of `declared` with its commit, or the one agreed on, if that is newer."""
    deployed = [(deploy.id, deploy.sha) for deploy in declared if deploy.state is TagState.DEPLOYED]
    return max([*deployed, *([agreed] if agreed is not None else [])], default=None)


def is_left(base: ProposalId, deploys: Iterable[Deploy], host: Callable[[str], bool]) -> bool:
    """Return True if something was deployed since the base: then git's files are a decision, even if they are its own.

    The record of a later agreement may be lost, or be one of an older backup. A spawn by the host decides nothing: it
    goes on with the repo of an earlier agent.
    """
    newer = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED and deploy.id > base]
    return any(not (deploy.kind is DeployKind.SPAWN and host(deploy.proposed_by)) for deploy in newer)


def tried_for(digest: str, deploys: Iterable[Deploy], seen: ProposalId | None) -> ProposalId | None:
    """Return the newest id that was made for this declaration, of those that the record has not `seen`."""
    made = [deploy.id for deploy in deploys if deploy.declared == digest and (seen is None or deploy.id > seen)]
    return max(made, default=None)
