"""Create, start, stop and remove agents. Each operation returns when the request is durable; the loop carries it out.

The manager may call some of these for other agents. A request about itself waits for the end of its current turn. The
manager can neither stop nor destroy itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from api.operations.base import (
    CHANGES,
    LEADERS,
    OPERATORS,
    REMOVES,
    AgentField,
    Call,
    IdField,
    Input,
    Nothing,
    Role,
    Route,
    Tool,
    on_host,
    on_manager,
    operation,
)
from meta.agent_toml.runtimes import runtime_name
from meta.agent_toml.seed import Start
from meta.agent_toml.values import MODEL_LIMIT
from meta.errors import BadInput, Refused
from meta.names import MANAGER, AgentName
from meta.wire import host, manager
from meta.wire.limits import DESCRIPTION_MOST
from reconciler.plan.rollout import Rollout
from reconciler.views import AgentOutcome, Card

DESCRIPTION = Field("", max_length=DESCRIPTION_MOST, description="what it is for")
AT_ONCE = Field(False, description="do not wait until the agent has finished its turn")


class Named(Input):
    """One agent."""

    agent: AgentField


class SpawnInput(Named):
    """One agent to create, and what it begins with."""

    runtime: str | None = Field(None, max_length=60, description="what takes its turns; else that of the settings")
    model: str | None = Field(None, max_length=MODEL_LIMIT, description="its model; else the runtime's default")


class RequestSpawnInput(Named):
    """One agent, and a description for the card."""

    description: str = DESCRIPTION


class StopInput(Named):
    """One agent to stop. `now`: do not wait until the agent has finished its turn."""

    now: bool = AT_ONCE


class StopAllInput(Input):
    """How to stop all agents. `now`: do not wait until they have finished their turns."""

    now: bool = AT_ONCE


class DestroyInput(Named):
    """One agent to remove. `purge`: also remove its repos, tags and /state."""

    purge: bool = Field(False, description="also the repos, the tags and /state")


class RollbackInput(Named):
    """One agent to roll back. `to`: a deployed id; null means the previous one."""

    to: IdField | None = None


class AdoptInput(Named):
    """One agent, and the side that is right."""

    side: Literal["running", "meta"]


class RebuildAllInput(Input):
    """The agents to rebuild, and the manner."""

    now: bool = AT_ONCE
    only_stale: bool = Field(False, description="only agents that another hive, nixpkgs or agentModules built")


class ReconcileInput(Input):
    """One agent to reconcile; null means all."""

    agent: AgentField | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was accepted. `accepted` names what hive will do to `agent`."""

    agent: AgentName
    accepted: str


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """The agent that is reconciled; null means every agent."""

    agent: AgentName | None


def queued_text(call: Call, done: Accepted) -> str:
    """Return the text for a model: the request is queued, and when it takes effect."""
    if call.name == done.agent:
        return f"queued: {done.accepted} of yourself; it happens when this turn has ended"
    return f"queued: {done.accepted} of {done.agent}"


def waiting_text(_call: Call, card: Card) -> str:
    """Return the text for a model: the operator decides."""
    return f"proposal {card.id} for {card.agent} waits for the operator; a message from system will have the decision"


@operation(
    "spawn",
    OPERATORS,
    CHANGES,
    lines=(on_host(host.Spawn),),
    routes=(Route("POST", "/api/agents/{agent}/spawn", status=201),),
)
async def spawn(call: Call, asked: SpawnInput) -> Card:
    """Create an agent without an approval, and return the card of its deploy."""
    if asked.model is not None and asked.runtime is None:
        raise BadInput("a model is given without a runtime", "`--runtime claude --model opus`")
    start = Start(runtime_name(asked.runtime), asked.model) if asked.runtime is not None else None
    return await call.service.cards.of(await call.service.spawns.begin(asked.agent, call.who, start=start))


@operation(
    "request_spawn",
    LEADERS,
    CHANGES,
    lines=(on_host(host.RequestSpawn), on_manager(manager.RequestSpawn)),
    routes=(Route("POST", "/api/agents/{agent}/request-spawn", status=201),),
    tool=Tool(waiting_text),
)
async def request_spawn(call: Call, asked: RequestSpawnInput) -> Card:
    """Ask the operator to approve a new agent."""
    counted(call)
    deploy = await call.service.spawns.request(asked.agent, call.who, asked.description)
    return await call.service.cards.of(deploy)


@operation(
    "kill",
    LEADERS,
    REMOVES,
    lines=(on_host(host.Kill), on_manager(manager.Kill)),
    routes=(Route("POST", "/api/agents/{agent}/stop"),),
    tool=Tool(queued_text),
)
async def kill(call: Call, asked: StopInput) -> Accepted:
    """Stop an agent once its turn has ended; it stays stopped until it is started."""
    agent = another(call, asked.agent, "stop")
    counted(call)
    await call.service.agents.stop(agent, call.who, asked.now)
    return Accepted(asked.agent, "stop")


@operation(
    "start",
    LEADERS,
    CHANGES,
    lines=(on_manager(manager.Start),),
    routes=(Route("POST", "/api/agents/{agent}/start"),),
    tool=Tool(queued_text),
)
async def start(call: Call, asked: Named) -> Accepted:
    """Start a stopped agent, or retry one that hive gave up."""
    counted(call)
    await call.service.agents.start(asked.agent, call.who)
    return Accepted(asked.agent, "start")


@operation(
    "restart",
    LEADERS,
    CHANGES,
    lines=(on_manager(manager.Restart),),
    routes=(Route("POST", "/api/agents/{agent}/restart"),),
    tool=Tool(queued_text),
)
async def restart(call: Call, asked: StopInput) -> Accepted:
    """Stop an agent once its turn has ended, and start it again."""
    counted(call)
    await call.service.agents.restart(asked.agent, call.who, asked.now)
    return Accepted(asked.agent, "restart")


@operation(
    "rebuild",
    LEADERS,
    CHANGES,
    lines=(on_host(host.Rebuild), on_manager(manager.Update)),
    routes=(Route("POST", "/api/agents/{agent}/rebuild"),),
    tool=Tool(queued_text, name="update"),
)
async def rebuild(call: Call, asked: StopInput) -> Accepted:
    """Make everything that hive makes for an agent again, from what is deployed, and restart it."""
    counted(call)
    await call.service.agents.rebuild(asked.agent, call.who, asked.now)
    return Accepted(asked.agent, "rebuild")


@operation("stop_all", OPERATORS, REMOVES, routes=(Route("POST", "/api/stop-all"),))
async def stop_all(call: Call, asked: StopAllInput) -> list[AgentOutcome]:
    """Stop every agent once its turn has ended, the manager too, and remember which of them ran."""
    return await call.service.swarm.stop(call.who, asked.now)


@operation("start_all", OPERATORS, CHANGES, routes=(Route("POST", "/api/start-all"),))
async def start_all(call: Call, _asked: Nothing) -> list[AgentOutcome]:
    """Start the agents that `stop_all` stopped, and retry those that hive gave up."""
    return await call.service.swarm.start(call.who)


@operation("rebuild_all", OPERATORS, CHANGES, routes=(Route("POST", "/api/rebuild-all"),))
async def rebuild_all(call: Call, asked: RebuildAllInput) -> Rollout:
    """Rebuild every agent, wave by wave, and return the plan of that rebuild."""
    return await call.service.updates.begin(call.who, now=asked.now, only_outdated=asked.only_stale)


@operation(
    "destroy",
    OPERATORS,
    REMOVES,
    lines=(on_host(host.Destroy),),
    routes=(Route("POST", "/api/agents/{agent}/destroy"),),
)
async def destroy(call: Call, asked: DestroyInput) -> Accepted:
    """Remove an agent. Its repos, tags and /state are kept unless `purge` is given."""
    await call.service.agents.destroy(asked.agent, call.who, asked.purge)
    return Accepted(asked.agent, "destroy")


@operation("rollback", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/rollback", status=201),))
async def rollback(call: Call, asked: RollbackInput) -> Card:
    """Deploy an older deployed commit again, under a new id that is approved at once."""
    return await call.service.cards.of(await call.service.rollback(asked.agent, call.who, asked.to))


@operation("adopt", OPERATORS, CHANGES, routes=(Route("POST", "/api/agents/{agent}/adopt"),))
async def adopt(call: Call, asked: AdoptInput) -> Accepted:
    """End a disagreement between meta and the tags."""
    await call.service.agents.adopt(asked.agent, call.who, asked.side == "running")
    return Accepted(asked.agent, "adopt")


@operation("reconcile", OPERATORS, CHANGES, routes=(Route("POST", "/api/reconcile"),))
async def reconcile(call: Call, asked: ReconcileInput) -> ReconcileResult:
    """Reconcile one agent or all of them now."""
    await call.service.loop.reread(asked.agent)
    if asked.agent is None:
        await call.service.loop.sweep()
    else:
        call.service.loop.look_now(asked.agent)
    return ReconcileResult(asked.agent)


def counted(call: Call) -> None:
    """Charge the caller for two events: the event of the request, and the event of its result."""
    call.service.broker.allowance.spend(call.name, 2)


def another(call: Call, agent: AgentName, verb: str) -> AgentName:
    """Return `agent`. Raise Refused if the manager names itself."""
    if call.role is Role.MANAGER and agent == MANAGER:
        raise Refused(f"the manager may not {verb} itself", "ask the operator")
    return agent


LIFECYCLE = (
    spawn,
    request_spawn,
    kill,
    start,
    restart,
    rebuild,
    stop_all,
    start_all,
    rebuild_all,
    destroy,
    rollback,
    adopt,
    reconcile,
)
