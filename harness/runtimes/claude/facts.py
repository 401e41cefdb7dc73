"""What the lines of the CLI say about a turn, apart from what they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Init:
    """A turn begins in the CLI. `servers` has the state of each MCP server by its name."""

    session: str
    model: str
    servers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What became of a message with this uuid: queued, started, completed or cancelled."""

    uuid: str
    state: str


@dataclass(frozen=True, slots=True)
class Context:
    """The tokens of one request to the model: what was in the conversation, and what was added by the answer.

    `cached`: what of `before` was read from the cache.
    """

    before: int
    added: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the API said of the account's limits. `resets` is in Unix seconds."""

    rejected: bool
    resets: float | None


@dataclass(frozen=True, slots=True)
class Boundary:
    """The conversation was compacted here."""

    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class NotCompacted:
    """The conversation could not be compacted. The result that follows is a success all the same."""

    error: str


@dataclass(frozen=True, slots=True)
class Question:
    """The CLI asks its host for something, and waits for the answer. `kind` is `can_use_tool` and such."""

    id: str
    kind: str
    tool: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The CLI's answer to a request of its host. `error` is "" if it did what was asked."""

    id: str
    error: str


@dataclass(frozen=True, slots=True)
class ApiError:
    """The last try of a request failed. `kind` is rate_limit, server_error, authentication_failed and such."""

    kind: str


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a turn in the CLI. Dollars are of the time since the last result; `total` is of the conversation."""

    is_error: bool
    subtype: str = ""
    reason: str = ""
    status: int | None = None
    error: str = ""
    text: str = ""
    origin: str = ""
    session: str = ""
    input: int | None = None
    output: int | None = None
    cached: int | None = None
    dollars: float | None = None
    total: float | None = None
    windows: Mapping[str, int] = field(default_factory=dict)
    """The tokens that the context of each model may have."""


Fact = Init | Lifecycle | Context | RateLimit | Boundary | NotCompacted | Question | Answer | ApiError | Result
