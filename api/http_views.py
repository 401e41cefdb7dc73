"""GET /api/...: what can be looked at. Nothing here changes anything."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from litestar import get

from api.http_agents import AGENT_VIEWS
from api.requests import Ask, flag, maybe_agent, path_id, seconds, service_of, whole
from meta.errors import TransientError

MOST_ROWS = 1000
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
    return asdict(await service_of(request).card(path_id(request), maybe_agent(request)))


@get("/proposals/{id:str}/diff")
async def diff(request: Ask) -> Row:
    """What a proposal changes; `?agent=` as above."""
    return asdict(await service_of(request).diff(path_id(request), maybe_agent(request)))


@get("/log")
async def log(request: Ask) -> list[Row]:
    """The system-wide deploy log, newest first, at most `?limit=`."""
    return [asdict(row) for row in await service_of(request).log(whole(request, "limit", 50, most=MOST_ROWS))]


@get("/wait")
async def wait(request: Ask) -> Row:
    """Until nothing is left to do (for `?agent=`), at most `?timeout=` seconds."""
    agent = maybe_agent(request)
    longest = seconds(request, "timeout", 30.0, most=MOST_SECONDS)
    settling = asyncio.ensure_future(service_of(request).settled(agent, longest))
    stopping = asyncio.ensure_future(request.app.state.stopping.wait())
    try:
        await asyncio.wait({settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if settling.done():
            return {"agent": agent, "settled": settling.result()}
        raise TransientError("the daemon is stopping; what was asked for goes on when it is started", "`hive serve`")
    finally:
        settling.cancel()
        stopping.cancel()
        await asyncio.wait({settling, stopping})


VIEWS = [status, agents, plan, proposals, proposal, diff, log, wait, *AGENT_VIEWS]
