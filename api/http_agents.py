"""What one agent wrote, is set to, and what changed between its commits; and the edit of its settings."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from litestar import get, post
from pydantic import Field

from api.requests import Ask, Body, body, caller, path_agent, seconds, service_of, whole
from meta.errors import TransientError
from meta.settings import MAX_BYTES
from reconciler.views import LogPart

MOST_LINES = 10_000
MOST_WAIT = 30.0
"""Seconds that one request for a log may wait for the next line."""
MOST_TIME = 1e11

Row = dict[str, Any]


class Edit(Body):
    """POST /api/agents/{agent}/settings. `base`: the deployed commit that the text was made from."""

    text: str = Field(max_length=MAX_BYTES)
    description: str = Field("", max_length=10_000)
    base: str | None = None


@get("/agents/{agent:str}/logs")
async def logs(request: Ask) -> Row:
    """The last `?lines=` lines of its container, written after `?since=`; or those after `?after=`, waited `?wait=`."""
    agent, service, cursor = path_agent(request), service_of(request), request.query_params.get("after") or None
    lines = whole(request, "lines", 50, most=MOST_LINES)
    since = seconds(request, "since", 0.0, most=MOST_TIME) or None
    wait = seconds(request, "wait", 0.0, most=MOST_WAIT)
    if not {"since", "after", "wait", "follow"} & request.query_params.keys():
        return {"agent": agent, "text": await service.logs(agent, lines), "cursor": None}
    waiting = asyncio.ensure_future(service.logs_after(agent, cursor, lines, since, wait))
    return {"agent": agent, **asdict(await _unless_stopping(request, waiting))}


async def _unless_stopping(request: Ask, waiting: asyncio.Future[LogPart]) -> LogPart:
    stopping = asyncio.ensure_future(request.app.state.stopping.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise TransientError("the daemon is stopping; agents go on", "`hive serve`")
    finally:
        waiting.cancel()
        stopping.cancel()
        await asyncio.wait({waiting, stopping})


@get("/agents/{agent:str}/diff")
async def change(request: Ask) -> Row:
    """What changed from `?from=` to `?to=`, ids or commits; without them from the one before to what is deployed."""
    first, last = (request.query_params.get(key) or None for key in ("from", "to"))
    return asdict(await service_of(request).change(path_agent(request), first, last))


@get("/agents/{agent:str}/settings")
async def settings(request: Ask) -> Row:
    """agent.toml as it is deployed, or as in the id or commit `?at=`."""
    return asdict(await service_of(request).settings(path_agent(request), request.query_params.get("at") or None))


@post("/agents/{agent:str}/settings")
async def edit(request: Ask) -> Row:
    """Commit a new agent.toml on top of what is deployed, and propose it."""
    asked = await body(request, Edit)
    done = service_of(request).propose_settings(
        path_agent(request), caller(request), asked.text, asked.description, asked.base
    )
    return asdict(await done)


AGENT_VIEWS = [logs, change, settings]
