"""POST /api/...: what the operator can ask for. Each answers once what it promises is durable."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from litestar import post
from pydantic import Field

from api.http_agents import edit
from api.http_backup import backup
from api.requests import Ask, Body, body, caller, maybe_agent, path_agent, path_id, service_of
from meta.errors import BadInput, NotFound
from meta.names import AgentName, agent_name, proposal_id

Row = dict[str, Any]
OPERATOR = "operator"


class Nothing(Body):
    """No keys."""


class Propose(Body):
    """POST /api/proposals."""

    agent: str
    commit: str | None = None
    description: str = Field("", max_length=10_000)
    source: str | None = None


class Approve(Body):
    """`seen`: the commit that the operator was shown; `shown`: the fingerprint of the preview that they saw."""

    seen: str | None = None
    shown: str | None = None


class Because(Body):
    """A reason in words."""

    reason: str = Field("", max_length=10_000)


class Describe(Body):
    """A description in words."""

    description: str = Field("", max_length=10_000)


class Now(Body):
    """`now`: do not let the agent finish its turn."""

    now: bool = False


class RebuildAll(Body):
    """`only_stale`: only agents that another hive built."""

    now: bool = False
    only_stale: bool = False


class Rollback(Body):
    """`to`: a deployed id; null is the one before."""

    to: int | None = None


class Destroy(Body):
    """`purge`: also what is kept."""

    purge: bool = False


class Adopt(Body):
    """Which side is right."""

    side: Literal["running", "meta"]


class Reconcile(Body):
    """`agent`: null is all."""

    agent: str | None = None


class Message(Body):
    """POST /api/messages."""

    to: str
    body: str


@post("/proposals")
async def propose(request: Ask) -> Row:
    """Fetch and pin a commit of an agent's proposed work tree, or of `source`."""
    asked = await body(request, Propose)
    source = Path(asked.source) if asked.source else None
    if source is not None and not source.is_absolute():
        raise BadInput(f"source {asked.source!r} is not absolute", "give the whole path, as the daemon sees it")
    card = await service_of(request).propose(
        agent_name(asked.agent), caller(request), asked.commit, asked.description, source
    )
    return asdict(card)


@post("/proposals/{id:str}/approve", status_code=200)
async def approve(request: Ask) -> Row:
    """Write `approved/<id>`. Here and below `?agent=` tells the ids 0 apart."""
    asked = await body(request, Approve)
    done = service_of(request).approve(path_id(request), caller(request), asked.seen, maybe_agent(request), asked.shown)
    return asdict(await done)


@post("/proposals/{id:str}/deny", status_code=200)
async def deny(request: Ask) -> Row:
    """Write `denied/<id>`."""
    asked = await body(request, Because)
    done = service_of(request).deny(path_id(request), caller(request), asked.reason, maybe_agent(request))
    return asdict(await done)


@post("/proposals/{id:str}/retry")
async def retry(request: Ask) -> Row:
    """Propose the commit of a failed or denied id again."""
    await body(request, Nothing)
    done = service_of(request).retry(path_id(request), caller(request), maybe_agent(request))
    return asdict(await done)


@post("/proposals/{id:str}/cancel", status_code=200)
async def cancel(request: Ask) -> Row:
    """End an approved id before it is committed."""
    asked = await body(request, Because)
    done = service_of(request).cancel(path_id(request), caller(request), asked.reason, maybe_agent(request))
    return asdict(await done)


@post("/agents/{agent:str}/spawn")
async def spawn(request: Ask) -> Row:
    """Make an agent without an approval; answers the card of its deploy."""
    await body(request, Nothing)
    service, new = service_of(request), path_agent(request)
    id = await service.spawn(new, caller(request))
    return asdict(await service.card(id, new))


@post("/agents/{agent:str}/request-spawn")
async def request_spawn(request: Ask) -> Row:
    """Ask for an agent through the approval queue."""
    asked = await body(request, Describe)
    return asdict(await service_of(request).request_spawn(path_agent(request), caller(request), asked.description))


@post("/agents/{agent:str}/rollback")
async def rollback(request: Ask) -> Row:
    """A new id with an older deployed commit, approved at once."""
    asked = await body(request, Rollback)
    to = proposal_id(asked.to) if asked.to is not None else None
    return asdict(await service_of(request).rollback(path_agent(request), caller(request), to))


@post("/agents/{agent:str}/start", status_code=200)
async def start(request: Ask) -> Row:
    """Desired: running."""
    await body(request, Nothing)
    await service_of(request).start(path_agent(request), caller(request))
    return _done(request, "start")


@post("/agents/{agent:str}/stop", status_code=200)
async def stop(request: Ask) -> Row:
    """Desired: stopped."""
    asked = await body(request, Now)
    await service_of(request).stop(path_agent(request), caller(request), asked.now)
    return _done(request, "stop")


@post("/agents/{agent:str}/restart", status_code=200)
async def restart(request: Ask) -> Row:
    """One more restart."""
    asked = await body(request, Now)
    await service_of(request).restart(path_agent(request), caller(request), asked.now)
    return _done(request, "restart")


@post("/agents/{agent:str}/rebuild", status_code=200)
async def rebuild(request: Ask) -> Row:
    """Everything that hive makes for the agent, again."""
    asked = await body(request, Now)
    await service_of(request).rebuild(path_agent(request), caller(request), asked.now)
    return _done(request, "rebuild")


@post("/rebuild-all", status_code=200)
async def rebuild_all(request: Ask) -> Row:
    """Rebuild every agent, wave by wave; answers what is going to be done."""
    asked = await body(request, RebuildAll)
    return asdict(await service_of(request).rebuild_all(caller(request), asked.now, asked.only_stale))


@post("/agents/{agent:str}/destroy", status_code=200)
async def destroy(request: Ask) -> Row:
    """Remove the agent."""
    asked = await body(request, Destroy)
    await service_of(request).destroy(path_agent(request), caller(request), asked.purge)
    return _done(request, "destroy")


@post("/agents/{agent:str}/adopt", status_code=200)
async def adopt(request: Ask) -> Row:
    """End a disagreement between meta and the tags."""
    asked = await body(request, Adopt)
    await service_of(request).adopt(path_agent(request), caller(request), asked.side == "running")
    return _done(request, "adopt")


@post("/reconcile", status_code=200)
async def reconcile(request: Ask) -> Row:
    """Look now."""
    asked = await body(request, Reconcile)
    agent: AgentName | None = agent_name(asked.agent) if asked.agent else None
    await service_of(request).reconcile(agent)
    return {"agent": agent}


@post("/messages")
async def messages(request: Ask) -> Row:
    """Send a message as the operator."""
    asked = await body(request, Message)
    service, to = service_of(request), agent_name(asked.to)
    if to not in service.agents():
        raise NotFound(f"there is no agent {to}", "see `hive list`")
    return {"id": await service.broker.send(OPERATOR, to, asked.body), "to": to}


def _done(request: Ask, command: str) -> Row:
    return {"agent": path_agent(request), "accepted": command}


COMMANDS = [
    propose,
    approve,
    deny,
    retry,
    cancel,
    spawn,
    request_spawn,
    rollback,
    start,
    stop,
    restart,
    rebuild,
    rebuild_all,
    destroy,
    adopt,
    reconcile,
    messages,
    backup,
    edit,
]
