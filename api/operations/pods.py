"""The pods of an agent: its own and its sub-agents. What each method does is that of the pod protocol.

Only the operator's: an agent reaches its own sub-agents by its tools, and no other agent's pods.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from api.operations.base import OPERATORS, READS, REMOVES, AgentField, Call, Input, Raw, Route, operation
from meta.errors import BadInput, HiveError, NotFound
from meta.names import MANAGER
from meta.wire import pod as wire
from meta.wire.codec import encode
from reconciler.pods.client import PodClient
from reconciler.queries.agent_row import pod_views
from reconciler.views import PodView

HEARTBEAT = 15.0
"""Seconds without an event after which a comment is sent. Only a write shows that the peer has disconnected."""
INPUT_MOST = 200_000
Verb = Literal["run", "notify", "resume", "pause", "cancel", "shutdown"]
WITH_TEXT = ("run", "notify")
PodField = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$", description="the agent's name, or that of a sub-agent")


class OfAgent(Input):
    """One agent."""

    agent: AgentField


class OnePod(Input):
    """One pod of an agent. Its own pod has its name."""

    agent: AgentField
    pod: str = PodField


class PodDo(OnePod):
    """A method of the pod protocol. `text` is the input of a `run`, or what a `notify` says."""

    method: Verb
    text: str = Field("", max_length=INPUT_MOST, description="for `run` and `notify`")


@dataclass(frozen=True, slots=True)
class PodAccepted:
    """A method that the pod accepted."""

    agent: str
    pod: str
    accepted: str


@dataclass(frozen=True, slots=True)
class PodHistory:
    """What a pod says of itself, and its newest items. All of it is the agent's own words."""

    greeting: dict[str, Any]
    items: list[Any]


@operation("pods", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/pods"),))
async def pods(call: Call, asked: OfAgent) -> list[PodView]:
    """Return the pods of an agent, its own first; none if its harness is not connected or is older."""
    _known(call, asked)
    return list(pod_views(call.service.links.view(asked.agent)))


@operation("pod_history", OPERATORS, READS, routes=(Route("GET", "/api/agents/{agent}/pods/{pod}/history"),))
async def pod_history(call: Call, asked: OnePod) -> PodHistory:
    """Return the greeting of a pod and the newest items of its history."""
    _known(call, asked)
    history = await call.service.pods.do(asked.agent, asked.pod, wire.GetHistory())
    if history is None:
        raise NotFound(f"the pod {asked.pod} gave no history", "try again")
    return PodHistory(history.data.greeting.model_dump(mode="json"), list(history.data.items))


@operation("pod_do", OPERATORS, REMOVES, routes=(Route("POST", "/api/agents/{agent}/pods/{pod}/{method}"),), waits=True)
async def pod_do(call: Call, asked: PodDo) -> PodAccepted:
    """Do a method of the pod protocol at a pod. To shut an agent's own pod down is to stop the agent."""
    _known(call, asked)
    if bool(asked.text) != (asked.method in WITH_TEXT):
        needs = "needs a text" if asked.method in WITH_TEXT else "takes no text"
        raise BadInput(f"`{asked.method}` {needs}", "`run` and `notify` have one")
    if asked.method == "shutdown" and asked.pod == asked.agent:
        await call.service.agents.stop(asked.agent, call.who)
    else:
        await call.service.pods.do(asked.agent, asked.pod, _method(asked))
    return PodAccepted(asked.agent, asked.pod, asked.method)


@operation(
    "pod_events",
    OPERATORS,
    READS,
    routes=(Route("GET", "/api/agents/{agent}/pods/{pod}/events", media=("text/event-stream",)),),
)
async def pod_events(call: Call, asked: OnePod) -> Raw:
    """Stream the events of a pod as server-sent events, the notifications of the past first. It cannot be resumed."""
    _known(call, asked)
    return Raw(pod_sse(call.service.pods, asked, call.stopping), "text/event-stream", {"cache-control": "no-store"})


async def pod_sse(pods: PodClient, asked: OnePod, stopping: asyncio.Event) -> AsyncGenerator[str, None]:
    """Yield the stream's text: `ready`, then `pod` with each event, then `end` with the reason if the pod ends it."""
    yield _block("ready", {"agent": asked.agent, "pod": asked.pod})
    end = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[wire.Event | None] | None = None
    async with aclosing(pods.follow(asked.agent, asked.pod)) as events:
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(events, None))
                waiting: set[asyncio.Future[Any]] = {coming, end}
                await asyncio.wait(waiting, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    return
                if not coming.done():
                    yield ":\n\n"
                    continue
                event, coming = coming.result(), None
                if event is None:
                    yield _block("end", {"reason": "the pod has ended"})
                    return
                yield f"event: pod\ndata: {encode(event).decode()}\n\n"
        except HiveError as error:
            yield _block("end", {"reason": error.summary, "error": True})
        finally:
            end.cancel()
            if coming is not None:  # a stream that still runs cannot be closed
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                await asyncio.wait({coming})


def _method(asked: PodDo) -> wire.Method:
    match asked.method:
        case "run":
            return wire.Run(params=wire.RunParams(input=asked.text))
        case "notify":
            return wire.Notify(params=wire.NotifyParams(message=asked.text))
        case "resume":
            return wire.Resume()
        case "pause":
            return wire.Pause()
        case "cancel":
            return wire.Cancel()
        case "shutdown":
            return wire.Shutdown()


def _known(call: Call, asked: OfAgent | OnePod) -> None:
    if asked.agent != MANAGER and asked.agent not in call.service.names():
        raise NotFound(f"there is no agent {asked.agent}", "see `hive list`")


def _block(kind: str, data: dict[str, object]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


PODS = (pods, pod_history, pod_do, pod_events)
