"""GET /api/...: what can be looked at. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from litestar import get

from api.requests import Ask, flag, maybe_agent, path_agent, path_id, seconds, service_of, whole
from meta.errors import NotFound
from meta.names import AgentName, ProposalId

if TYPE_CHECKING:
    from reconciler.service import Service
    from reconciler.views import Card

MOST_ROWS = 1000
MOST_LINES = 10_000
MOST_SECONDS = 600.0

Row = dict[str, Any]


@get("/status")
async def status(request: Ask) -> Row:
    """The daemon and every agent."""
    return asdict(await service_of(request).status())


@get("/agents")
async def agents(request: Ask) -> list[Row]:
    """The names of all agents."""
    return [{"agent": agent} for agent in service_of(request).agents()]


@get("/plan")
async def plan(request: Ask) -> list[Row]:
    """The next step of every agent, or of `?agent=`, and why."""
    return [asdict(row) for row in await service_of(request).plan(maybe_agent(request))]


@get("/proposals")
async def proposals(request: Ask) -> list[Row]:
    """Pending proposals, oldest first; with `?all=1` the newest `?limit=` of all, of `?agent=` only."""
    service, agent = service_of(request), maybe_agent(request)
    if flag(request, "all", False):
        return [asdict(card) for card in await service.cards(agent, whole(request, "limit", 50, most=MOST_ROWS))]
    return [asdict(card) for card in await service.pending() if agent in (None, card.agent)]


@get("/proposals/{id:str}")
async def proposal(request: Ask) -> Row:
    """One proposal; `?agent=` tells the ids 0 of spawned agents apart."""
    return asdict(await card_of(service_of(request), path_id(request), maybe_agent(request)))


@get("/proposals/{id:str}/diff")
async def diff(request: Ask) -> Row:
    """What a proposal changes."""
    return asdict(await service_of(request).diff(path_id(request)))


@get("/log")
async def log(request: Ask) -> list[Row]:
    """The system-wide deploy log, newest first, at most `?limit=`."""
    return [asdict(row) for row in await service_of(request).log(whole(request, "limit", 50, most=MOST_ROWS))]


@get("/agents/{agent:str}/logs")
async def logs(request: Ask) -> Row:
    """The last `?lines=` lines that an agent's container wrote."""
    agent = path_agent(request)
    text = await service_of(request).logs(agent, whole(request, "lines", 50, most=MOST_LINES))
    return {"agent": agent, "text": text}


@get("/wait")
async def wait(request: Ask) -> Row:
    """Until nothing is left to do (for `?agent=`), at most `?timeout=` seconds."""
    agent = maybe_agent(request)
    settled = await service_of(request).settled(agent, seconds(request, "timeout", 30.0, most=MOST_SECONDS))
    return {"agent": agent, "settled": settled}


async def card_of(service: Service, id: ProposalId, agent: AgentName | None) -> Card:
    """The card of an id; every spawned agent has an id 0, so there `agent` matters."""
    if agent is None:
        return await service.card(id)
    for card in await service.cards(agent, MOST_ROWS):
        if card.id == id:
            return card
    raise NotFound(f"{agent} has no proposal {id}", f"see `hive pending --all` for the ids of {agent}")


VIEWS = [status, agents, plan, proposals, proposal, diff, log, logs, wait]
