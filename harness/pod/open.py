"""The agent's own pod, put together: its socket, its requests, and the sink that shows a turn to its clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.asides import Aside
from harness.environment import Environment
from harness.event_sink import EventSink
from harness.events.bus import Bus
from harness.events.database import Row
from harness.events.store import EventStore
from harness.gate import Gate
from harness.pod.history import history_items
from harness.pod.pod import Outside, Pod
from harness.pod.requests import Requests
from harness.pod.server import Clients, Handler, serve_pod
from harness.pod.translate import Translator
from harness.prompts.instructions import instructions_problem
from harness.runtimes.base import Runtime
from meta.agent_toml.settings import AgentSettings
from meta.text import one_line
from meta.wire import pod
from meta.wire.link import PodInfo
from meta.wire.live import AnyItem, LiveEvent, Note

log = logging.getLogger(__name__)

WORK = "work"
"""The folder of work in the state (harness.enclosure)."""
PROVIDERS = {"claude": "anthropic", "claude-acp": "anthropic", "codex": "openai", "gemini": "google", "script": "none"}
"""The vendor of a runtime's model, as far as the runtime decides it."""
HISTORY_ROWS = 2_000
PAGE = 200


class Watched:
    """A sink that passes everything on, and shows it to the clients of the pod."""

    def __init__(self, sink: EventSink, translator: Translator) -> None:
        self._sink = sink
        self._translator = translator

    def emit(self, event: LiveEvent) -> None:
        """Take one event."""
        self._sink.emit(event)

    def line(self, items: Sequence[AnyItem], line: object) -> None:
        """Take one line of the CLI. Clients get it before the log, which takes longer."""
        for item in items:
            self._translator.item(item)
        self._sink.line(items, line)

    def aside(self, aside: Aside) -> None:
        """Take what only clients see."""
        self._translator.aside(aside)

    def count(self, items: Sequence[AnyItem]) -> None:
        """Count what is unknown in a line that is not kept."""
        self._sink.count(items)


@dataclass(slots=True)
class Driven:
    """The runtime that the pod drives now. It may be made anew while the pod goes on."""

    runtime: Runtime | None = None
    model: Callable[[], str] = str
    scope: str = ""
    take_event: Callable[[pod.PodEvent], str] = lambda _: ""
    """Takes what a child reports, and returns a line for the model, "" if there is nothing to say."""

    async def inject(self, text: str) -> bool:
        """Give the model a text within its turn. Return False if that cannot be."""
        return self.runtime is not None and await self.runtime.inject(text)


@dataclass(frozen=True, slots=True)
class Role:
    """Whose pod it is: its name, its socket's, and what it says to who is above it.

    `shut_down` asks for its end, `report` passes on what a parent is told, `tell` what hive shows of it.
    """

    name: str
    socket: str
    shut_down: Callable[[], None]
    report: Callable[[pod.PodEvent], None]
    tell: Callable[[PodInfo], None]


@dataclass(frozen=True, slots=True)
class OpenPod:
    """The pod while it is served."""

    pod: Pod
    requests: Requests
    driven: Driven
    translator: Translator

    def watch(self, sink: EventSink) -> Watched:
        """Return a sink that shows the pod's clients what it gets."""
        return Watched(sink, self.translator)


@contextlib.asynccontextmanager
async def open_pod(
    environment: Environment, settings: AgentSettings, gate: Gate, bus: Bus, store: EventStore, role: Role
) -> AsyncIterator[OpenPod]:
    """Serve the pod in the block. Without its folder there are no clients, and turns go on as before."""
    clients, driven = Clients(), Driven()
    translator = Translator(clients.emit)
    requests = Requests(environment.kept)
    name = role.name
    outside = Outside(
        name=name,
        history=lambda: asyncio.to_thread(_history, store),
        greeting=lambda: _greeting(name, environment, settings, driven),
        inject=driven.inject,
        shut_down=role.shut_down,
        record=lambda text: bus.emit(Note(text=text)),
        report=role.report,
        take_event=lambda event: driven.take_event(event),
        instructions=lambda: instructions_problem(environment.state / WORK, settings.runtime),
    )
    own = Pod(gate, requests, translator, outside)
    tell = _teller(own, role, translator, driven)
    gate.listen(tell)
    tell()
    async with _served(environment.pods, role.socket, clients, own.do):
        try:
            yield OpenPod(own, requests, driven, translator)
        finally:
            clients.emit(pod.ShutdownEvent())
            outside.report(pod.ShutDown(pod_name=name))


@contextlib.asynccontextmanager
async def _served(folder: Path, name: str, clients: Clients, do: Handler) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        if folder.is_dir():
            try:
                await stack.enter_async_context(serve_pod(folder, clients, do, name))
            except OSError as error:
                log.warning("the pod has no socket: %s", error)
        yield


def _teller(own: Pod, role: Role, translator: Translator, driven: Driven) -> Callable[[], None]:
    """Return what tells who is above of the pod."""

    def tell() -> None:
        info = PodInfo(
            name=role.name,
            state=own.state.value,
            scope=one_line(driven.scope, 500),
            turn=translator.turn,
            result=own.result,
            ended=own.ended,
        )
        role.tell(info)

    return tell


def _history(store: EventStore) -> tuple[dict[str, object], ...]:
    rows: list[Row] = []
    after = 0
    while len(rows) < HISTORY_ROWS and (page := store.read(after, PAGE)):
        rows += page
        after = page[-1].id
    return history_items(rows)


def _greeting(name: str, environment: Environment, settings: AgentSettings, driven: Driven) -> pod.Greeting:
    return pod.Greeting(
        pod_name=name,
        cwd=str(environment.state / WORK),
        provider=PROVIDERS.get(settings.runtime, settings.runtime),
        model=driven.model(),
        scope_summary=driven.scope,
        tools=tuple(settings.permissions.allow),
    )
