"""A runtime that does what a test says, in the test's own process, between the real parts of a harness and FakeHive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.asides import Aside
from harness.runtimes.base import Capabilities, Compacted, Ending, Sink, TurnOutcome, TurnRequest
from meta.errors import HiveError
from meta.wire.live import AnyItem, LiveEvent, Stream

Step = Callable[[TurnRequest, Sink], Awaitable[TurnOutcome]]
Kind = TypeVar("Kind", bound=LiveEvent)


def ends(
    ending: Ending, reason: str = "", until: float | None = None, session: str | None = None, refusal: str = ""
) -> Step:
    """Return a turn that ends at once."""

    async def step(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return TurnOutcome(ending, reason, until, session, refusal=refusal)

    return step


OK = ends(Ending.OK, session="s1")


async def hangs(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
    """Do a turn that never ends by itself."""
    await asyncio.Event().wait()
    raise AssertionError


@dataclass
class ScriptedRuntime:
    """Does `steps` one after the other, then good turns. `requests` has what it was given."""

    steps: list[Step] = field(default_factory=list)
    name: str = "scripted"
    capabilities: Capabilities = Capabilities(  # noqa: RUF009 - frozen
        resume=True, inject=False, compact=True, login=False, cost=True, context=True
    )
    default_model: str = ""
    problem: HiveError | None = None
    compacted: Compacted | None = None
    requests: list[TurnRequest] = field(default_factory=list)
    injected: list[str] = field(default_factory=list)
    takes: bool = True
    compactions: list[str | None] = field(default_factory=list)
    interrupts: int = 0
    closes: int = 0
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do the next step."""
        self.requests.append(request)
        step = self.steps.pop(0) if self.steps else OK
        return await step(request, sink)

    async def inject(self, text: str) -> bool:
        """Take a text, if it takes any."""
        self.injected.append(text)
        return self.takes

    async def interrupt(self) -> None:
        """Set `interrupted`, for a step that waits for it."""
        self.interrupts += 1
        self.interrupted.set()

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Return `compacted`."""
        self.compactions.append(session)
        return self.compacted

    async def version(self) -> str:
        """Return a version, or raise the problem."""
        if self.problem is not None:
            raise self.problem
        return "1.2.3"

    async def close(self) -> None:
        """Count."""
        self.closes += 1


class EventList:
    """A bus that keeps everything."""

    def __init__(self) -> None:
        self.events: list[LiveEvent] = []
        self.counted: list[AnyItem] = []
        self.asides: list[Aside] = []

    def emit(self, event: LiveEvent) -> None:
        """Keep one event."""
        self.events.append(event)

    def line(self, items: Sequence[AnyItem], line: object) -> None:
        """Keep one line."""
        self.events.append(Stream(items=tuple(items), line=line))

    def aside(self, aside: Aside) -> None:
        """Keep what only those see who watch."""
        self.asides.append(aside)

    def count(self, items: Sequence[AnyItem]) -> None:
        """Keep what is in a line that is not kept."""
        self.counted += items

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]
