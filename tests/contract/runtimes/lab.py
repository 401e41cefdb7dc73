"""What a test of a runtime may want of the world: a model that says what it is told to, and a runtime that uses it.

A further runtime adds a class and its name to LABS in conftest.py; the tests stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.asides import Aside
from harness.runtimes.base import Ending, Runtime, Tokens, TurnOutcome, TurnRequest
from meta.wire.agent import MessageResponse
from meta.wire.live import AnyItem, Text, ToolCall, ToolResult


@dataclass(frozen=True)
class Use:
    """The tokens that the API reports for one request: what it was given, how much of that was cached, its answer."""

    given: int = 10
    cached: int = 0
    made: int = 5


@dataclass(frozen=True)
class Say:
    """The model says a text and ends its turn. `seconds`: it takes that long, in pieces."""

    text: str
    seconds: float = 0.0
    use: Use = Use()


@dataclass(frozen=True)
class Call:
    """The model calls a tool of hive."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    use: Use = Use()


@dataclass(frozen=True)
class Shell:
    """The model runs a command in the CLI's own shell."""

    command: str


Step = Say | Call | Shell


@dataclass(frozen=True)
class Failure:
    """How every request to the model fails.

    away       nobody listens                     overload   the API is overloaded
    limit      the account's limit is reached     key        the key or token is refused
    no-model   there is no such model             refused    the request itself is wrong
    overflow   the conversation is too long       hang       no answer comes
    """

    kind: str
    resets: float | None = None
    """When the limit resets, in Unix seconds."""


ENDINGS: Mapping[str, Ending] = {
    "away": Ending.PARKED,
    "overload": Ending.PARKED,
    "limit": Ending.PARKED,
    "refused": Ending.REFUSED,
    "overflow": Ending.OVERFLOW,
    "key": Ending.NEEDS_LOGIN,
    "no-model": Ending.PARKED,
}


class Lab(Protocol):
    """One agent's home, and the API of its model."""

    name: str
    endings: Mapping[str, Ending]
    """How a turn ends by the kind of its failure. ENDINGS, unless the CLI cannot tell some from others."""
    shows_arguments: bool
    """It shows the arguments of a call of hive's tools."""
    reports_limits: bool
    """It names the time at which a limit resets."""
    models: tuple[str, str]
    """Two models by the names that agent.toml has."""
    sums: bool
    """Its tokens are those of all requests of the turn, and not of the last one alone."""
    counts_cached: bool
    """It tells the tokens of the cache from the others."""

    def make(self, command: Sequence[str] | None = None, *, logged_in: bool = True) -> Runtime:
        """Return a new runtime over the same home, as after a restart of the harness."""

    def script(self, *steps: Step) -> None:
        """Let the model take these steps, one for each request."""

    def failing(self, failure: Failure) -> AbstractContextManager[None]:
        """Let every request fail meanwhile."""

    def conversation(self) -> str:
        """Return what the model was last shown, as text."""

    def model(self) -> str:
        """Return the model that the last request named."""

    def requests(self) -> int:
        """Return how many requests have reached the API, of any model."""

    async def asked(self) -> None:
        """Wait until a request has reached the model since the last step or failure was set."""

    async def holds(self, record: Record) -> None:
        """Wait until the CLI says that it has a text that was given to it within the turn."""


@dataclass
class Record:
    """A sink that keeps all (harness.runtimes.base.Sink)."""

    items: list[AnyItem] = field(default_factory=list)
    lines: list[object] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    costs: list[Tokens] = field(default_factory=list)
    compactions: list[tuple[int | None, int | None]] = field(default_factory=list)

    def line(self, items: Sequence[AnyItem], line: object, *, repeated: bool = False) -> None:
        self.items.extend(items)
        self.lines.append(line)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def aside(self, aside: Aside) -> None:
        """Nothing: only those see it who watch."""

    def spent(self, tokens: Tokens) -> None:
        self.costs.append(tokens)

    def compacted(self, before: int | None, after: int | None) -> None:
        self.compactions.append((before, after))

    def texts(self) -> list[str]:
        return [item.text for item in self.items if isinstance(item, Text)]

    def calls(self) -> list[ToolCall]:
        return [item for item in self.items if isinstance(item, ToolCall)]

    def results(self) -> list[ToolResult]:
        return [item for item in self.items if isinstance(item, ToolResult)]


def request(text: str, session: str | None = None, model: str | None = None) -> TurnRequest:
    """Return a turn with this text for the model."""
    return TurnRequest(MessageResponse(sender="operator", body=text, id=1), text, session, model)


async def turn(
    runtime: Runtime, text: str, session: str | None = None, *, record: Record | None = None, model: str | None = None
) -> TurnOutcome:
    """Do one turn."""
    return await runtime.turn(request(text, session, model), record or Record())


def processes(home: Path) -> Iterator[int]:
    """Return the processes whose environment has this home: the CLI and what it started."""
    wanted = f"HOME={home}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                continue
