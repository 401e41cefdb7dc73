"""What a person does about agents: one, or all of them."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import Call, Nothing
from api.operations.lifecycle import (
    AdoptInput,
    DestroyInput,
    Named,
    RebuildAllInput,
    RollbackInput,
    SpawnInput,
    StopAllInput,
    StopInput,
    adopt,
    destroy,
    kill,
    rebuild,
    rebuild_all,
    restart,
    rollback,
    spawn,
    start,
    start_all,
    stop_all,
)
from api.ui.acting import do
from api.ui.page import Action, AnyAction, Done
from meta.errors import BadInput
from meta.names import AgentName
from reconciler.views import AgentOutcome

NAMED = 5
"""Agents that a notice names."""


class PurgeInput(DestroyInput):
    """One agent to remove. For a purge, its name has to be typed."""

    typed: str = Field("", max_length=200, description="the agent's name, if it is purged")


async def stop_it(call: Call, asked: StopInput) -> Done:
    """Stop an agent."""
    await do(call, kill, asked)
    return Done(f"{asked.agent} stops{' now' if asked.now else ' when its turn has ended'}.")


async def start_it(call: Call, asked: Named) -> Done:
    """Start an agent."""
    await do(call, start, asked)
    return Done(f"{asked.agent} starts.")


async def restart_it(call: Call, asked: StopInput) -> Done:
    """Restart an agent."""
    await do(call, restart, asked)
    return Done(f"{asked.agent} restarts{' now' if asked.now else ' when its turn has ended'}.")


async def rebuild_it(call: Call, asked: StopInput) -> Done:
    """Rebuild an agent."""
    await do(call, rebuild, asked)
    return Done(f"{asked.agent} is rebuilt and restarts{' now' if asked.now else ' when its turn has ended'}.")


async def roll_back(call: Call, asked: RollbackInput) -> Done:
    """Deploy an older commit of an agent again."""
    card = await do(call, rollback, asked)
    return Done(f"{asked.agent} rolls back: deploy {card.id}.", f"/deploys/{asked.agent}/{card.id}")


async def adopt_it(call: Call, asked: AdoptInput) -> Done:
    """End a disagreement between meta and the tags."""
    await do(call, adopt, asked)
    side = "keeps what runs" if asked.side == "running" else "goes back to what meta pins"
    return Done(f"{asked.agent} {side}.")


async def destroy_it(call: Call, asked: PurgeInput) -> Done:
    """Remove an agent. A purge cannot be undone, so its name has to be typed."""
    if asked.purge and asked.typed.strip() != asked.agent:
        raise BadInput(f"the name that you typed is not {asked.agent}", f"type {asked.agent} to purge it")
    await do(call, destroy, DestroyInput(agent=asked.agent, purge=asked.purge))
    if asked.purge:
        return Done(f"{asked.agent} is being purged.")
    return Done(f"{asked.agent} is destroyed. What it left is kept until you purge it.")


async def spawn_it(call: Call, asked: SpawnInput) -> Done:
    """Create an agent."""
    card = await do(call, spawn, asked)
    return Done(f"{asked.agent} is being made.", f"/deploys/{asked.agent}/{card.id}")


async def bring_back(call: Call, asked: Named) -> Done:
    """Create an agent that was destroyed again, with what it left."""
    card = await do(call, spawn, SpawnInput(agent=asked.agent))
    return Done(f"{asked.agent} comes back with what it left.", f"/deploys/{asked.agent}/{card.id}")


async def stop_all_of_them(call: Call, asked: StopAllInput) -> Done:
    """Stop all agents."""
    return Done(_outcome(await do(call, stop_all, asked), "stop", "stops", "stop"))


async def start_all_of_them(call: Call, asked: Nothing) -> Done:
    """Start the agents that were stopped together."""
    return Done(_outcome(await do(call, start_all, asked), "start", "starts", "start"))


async def update_all(call: Call, asked: RebuildAllInput) -> Done:
    """Rebuild agents wave by wave."""
    begun = await do(call, rebuild_all, asked)
    names = [*begun.begun, *begun.waiting]
    text = f"{_some(names)} {'is' if len(names) == 1 else 'are'} rebuilt, wave by wave." if names else "Nothing to do."
    return Done(text + (f" Left out: {_some(begun.left_out)}." if begun.left_out else ""))


def _outcome(results: list[AgentOutcome], verb: str, one: str, many: str) -> str:
    """Return what happens to which agents, and what could not be done."""
    done = [result.agent for result in results if result.accepted]
    text = f"{_some(done)} {one if len(done) == 1 else many}." if done else f"There is no agent to {verb}."
    failed = [f"{result.agent}: {result.error}" for result in results if result.error]
    return " ".join([text, *(f"{line}." for line in failed[:NAMED])])


def _some(names: list[AgentName] | tuple[AgentName, ...]) -> str:
    """Return the names, or a few and the number of the rest."""
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


ACTIONS: tuple[AnyAction, ...] = (
    Action("/agents/{agent}/stop", StopInput, stop_it),
    Action("/agents/{agent}/start", Named, start_it),
    Action("/agents/{agent}/restart", StopInput, restart_it),
    Action("/agents/{agent}/rebuild", StopInput, rebuild_it),
    Action("/agents/{agent}/rollback", RollbackInput, roll_back),
    Action("/agents/{agent}/adopt", AdoptInput, adopt_it),
    Action("/agents/{agent}/destroy", PurgeInput, destroy_it),
    Action("/agents/{agent}/bring-back", Named, bring_back),
    Action("/new-agent", SpawnInput, spawn_it),
    Action("/agents-all/stop", StopAllInput, stop_all_of_them),
    Action("/agents-all/start", Nothing, start_all_of_them),
    Action("/agents-all/update", RebuildAllInput, update_all),
)
