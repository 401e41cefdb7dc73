"""The values about agents beside their status: the next step, results of commands, and what destroyed ones left."""

from __future__ import annotations

from dataclasses import dataclass

from meta.names import AgentName, ProposalId


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The next step of one agent, and its reason. `until`: the end of a wait or a drain; `deploy`: the id in flight.

    `remedy`: what the operator does about an agent that hive does not bring up by itself.
    """

    agent: AgentName
    phase: str
    step: str
    reason: str
    deploy: ProposalId | None = None
    until: float | None = None
    conditions: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def idle(self) -> bool:
        """True if there is nothing to do."""
        return self.step == "none"


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """The result of a command about all agents for one of them.

    `accepted` names what hive will do to it; null: nothing, and `reason` says why. `error` and `remedy` are set if it
    should have been done and could not be.
    """

    agent: AgentName
    accepted: str | None = None
    reason: str | None = None
    error: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A request about an agent's turns that was carried out. `text` is for people; a harness may have written it."""

    agent: AgentName
    accepted: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """A step of a login. `text` is for the operator; the agent's CLI or the agent wrote it, and hive cleaned it.

    address      the operator logs in at `address`. `known`: it is the login page of a provider of models that
                 hive knows; without that the agent may have made it up. `login` names this login for the next steps
    again        the code was wrong, and the CLI asks for it again
    pending      the login is not done yet
    done         the agent is logged in
    cancelled    the login was cancelled
    logged-out   the agent has no login any more
    """

    agent: AgentName
    state: str
    text: str
    address: str | None = None
    known: bool = False
    login: str | None = None


@dataclass(frozen=True, slots=True)
class Remains:
    """What a destroyed agent left, which a spawn of the same name goes on with, and a purge removes.

    `at` is when it was destroyed, null if that event was pruned. `home_bytes` is the space of its home and state, null
    while it is not measured, or if it cannot be. `purging`: a purge of it was asked for and is not done yet.
    """

    agent: AgentName
    at: float | None
    deployed: ProposalId
    home_bytes: int | None
    messages: int
    generations: int
    purging: bool = False
