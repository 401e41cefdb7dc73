"""The interface of a runtime: one way to do turns. Nothing above it knows which coding agent it drives.

A runtime has at most one process of its CLI. It starts it when a turn needs it and keeps it between turns if it can.
Everything that the CLI writes goes to the Sink, line by line; a turn ends with an Outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from harness.asides import Aside
from harness.runtimes.listings import Listings
from harness.scope.bounds import Bounds
from meta.agent_toml.settings import AgentSettings
from meta.errors import TransientError
from meta.names import HIVE, PODS, AgentName, Sha
from meta.wire.agent import MessageResponse
from meta.wire.live import AnyItem

Number = TypeVar("Number", int, float)


DUMMY = "a-key-outside-of-the-container"
"""What a CLI gets in place of a key that stays outside: it wants one."""


class Ending(StrEnum):
    """How a turn ended.

        ok           the messages are done
        refused      the model's API or the CLI refused this turn itself: counts as a failed turn
        crashed      the CLI ended, or wrote nothing for too long: counts as a failed turn
        parked       an outage, a limit, an overload, a wrong model or key: the messages wait, and no turn failed
        needs-login  the CLI has no login: the same
        overflow     the conversation is too long and the runtime could not compact it by itself
        cancelled    ended from outside: by the operator, a pause or hive

    An outcome says what is true of the turn; what follows from it is decided above (harness.retry).
    """

    OK = "ok"
    REFUSED = "refused"
    PARKED = "parked"
    NEEDS_LOGIN = "needs-login"
    OVERFLOW = "overflow"
    CRASHED = "crashed"
    CANCELLED = "cancelled"


class Fault(StrEnum):
    """What a failed turn failed by, where its ending does not say that.

    limit  a limit that somebody set: limits.turn_seconds, limits.max_turns, the budget
    tools  the CLI does not have the agent's tools, or one failed so that the turn could not go on
    """

    LIMIT = "limit"
    TOOLS = "tools"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one turn cost, as the runtime claims. None: it does not say. Dollars of this turn alone, not cumulative."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cost_dollars: float | None = None
    context: int | None = None
    """Tokens in the conversation's context after the turn, for the watermark."""
    window: int | None = None
    """Tokens that the context may have, if the runtime knows that."""

    def __add__(self, later: Tokens) -> Tokens:
        """Return what both cost together, with the context as it is after the later one."""
        return Tokens(
            _sum(self.input, later.input),
            _sum(self.output, later.output),
            _sum(self.cached, later.cached),
            _sum(self.cost_dollars, later.cost_dollars),
            later.context,
            later.window,
        )

    @property
    def spent(self) -> bool:
        """Return True if the runtime reports that something was spent."""
        return any((self.input, self.output, self.cached, self.cost_dollars))


def _sum(first: Number | None, second: Number | None) -> Number | None:
    """Return the sum of what is reported: a lower bound counts for a budget, nothing does not."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """The end of a turn.

    `reason` is one line for people and says what helps. `refusal` is the same without it, if what helps is a login: an
    agent with a key outside needs another remedy. `until` is in Unix seconds, only if the CLI named a time:
    without it a parked turn is tried again after a delay. `session` names the conversation to resume, None if there is
    none. `model` is what the CLI said it used.
    """

    ending: Ending
    reason: str = ""
    until: float | None = None
    session: str | None = None
    tokens: Tokens = field(default_factory=Tokens)
    model: str = ""
    unseen: tuple[str, ...] = ()
    """Injected texts of which the CLI did not report that it was done with them: the model may not have seen them."""
    person: bool = False
    """Only a person can mend why the turn is parked."""
    refusal: str = ""
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Return True if the messages are done."""
        return self.ending is Ending.OK

    def without_login(self, key: str) -> TurnOutcome:
        """Return the outcome of an agent with a key outside of this kind, "" for none: no login helps it."""
        if not key or self.ending is not Ending.NEEDS_LOGIN:
            return self
        why = (self.refusal or self.reason).rstrip(".")
        reason = f"no turn with the key outside, of kind {key}: {why}; `hive doctor` checks the key, no login helps"
        return replace(self, ending=Ending.PARKED, reason=reason, refusal="", person=True)


@dataclass(frozen=True, slots=True)
class Compacted:
    """The conversation was compacted. Tokens of the context; None: not reported. `note` says how, if not by the CLI.

    `tokens` is what the compaction itself cost.
    """

    tokens_before: int | None = None
    tokens_after: int | None = None
    session: str | None = None
    note: str = ""
    tokens: Tokens = field(default_factory=Tokens)


class CompactionFailed(TransientError):
    """The CLI could not compact. `outcome` is the end of its turn: an outage, or a conversation that is too long."""

    def __init__(self, summary: str, outcome: TurnOutcome) -> None:
        super().__init__(summary, "try again later, or begin a new conversation")
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a runtime can do. docs/reference/runtimes.md has a table of these, checked by a test."""

    resume: bool
    """A new process continues an earlier conversation."""
    inject: bool
    """A text can reach the model within a running turn."""
    compact: bool
    """It compacts when it is asked to."""
    login: bool
    """`hive login` drives its login."""
    cost: bool
    """It reports dollars."""
    context: bool
    """It reports how full the context is."""


@dataclass(frozen=True, slots=True)
class McpEndpoint:
    """The tools for the CLI: http MCP servers on loopback, and the token that they want as Bearer.

    `url` is that of hive's tools, `pods` that of those for sub-agents; empty: it has none. `listings`: whether the CLI
    got hive's. None: that is not known, or there are none.
    """

    url: str
    token: str = field(repr=False)
    listings: Listings | None = field(default=None, repr=False, compare=False)
    pods: str = ""

    @property
    def servers(self) -> Mapping[str, str]:
        """Return the URL of each server by its name."""
        return {name: url for name, url in ((HIVE, self.url), (PODS, self.pods)) if url}


@dataclass(frozen=True, slots=True)
class ModelApi:
    """Where the CLI asks its model: `url` on loopback; None: its vendor, through the proxy. `kind`: the key outside.

    Without a key outside (`kind` is empty) the CLI has a login.
    """

    url: str | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """What the way out offers now. `routes` has the URL of a key outside by its kind (meta.network.routes).

    `env` are variables for them. `root`: what answers outside is no `hive-egress`, and takes requests at this URL.
    """

    root: str | None = None
    routes: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def api(self, kinds: Iterable[str]) -> ModelApi:
        """Return where the model is, for a CLI that can use keys of these kinds. The first that there is counts."""
        kind = next((kind for kind in kinds if kind in self.routes), None)
        return ModelApi(self.root) if kind is None else ModelApi(self.routes[kind], kind)


def no_bounds() -> Bounds | None:
    """Return None: a CLI without a scope may do what its user may."""
    return None


@dataclass(frozen=True, slots=True)
class Enclosure:
    """Where and with what the CLI runs. Paths are inside the container.

    `home` and `work` belong to the CLI. `env` is the whole environment of the CLI but for what its adapter adds; no
    secret is in it. `files` is a folder only for files that the adapter writes at its start. `access` returns what the
    way out offers at this moment: a CLI that was started with another one is started anew before a turn.
    `credentials` has the agent's secrets, one file each. `bounds` returns what the kernel keeps the CLI to at this
    moment, None: it may do what its user may. Other ones start it anew too.
    """

    home: Path
    work: Path
    files: Path
    env: Mapping[str, str]
    mcp: McpEndpoint | None = None
    access: Callable[[], Access] = Access
    credentials: Path | None = None
    bounds: Callable[[], Bounds | None] = no_bounds


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """What a runtime is made of. `prompt` is the system prompt (harness/prompts), rendered."""

    agent: AgentName
    manager: bool
    settings: AgentSettings
    enclosure: Enclosure
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One turn: the message, the text that wakes the model for it, the conversation, and the model (None: default).

    If the CLI does not know the conversation any more, the runtime begins a new one and says so with a note.
    """

    message: MessageResponse
    prompt: str
    session: str | None = None
    model: str | None = None
    goes_on: bool = False
    """The turn was paused, and goes on: a runtime that knows where it was begins there."""


class Sink(Protocol):
    """Gets what happens in a turn, and after it until the next one. No method blocks or raises."""

    def line(self, items: Sequence[AnyItem], line: object, *, repeated: bool = False) -> None:
        """Take one line of the CLI (a JSON value, or text that is not JSON) and what it means. It is a sign of life.

        `repeated`: the adapter knows the line, and a later one has all that it says, so only its items are passed on.
        """

    def note(self, text: str) -> None:
        """Take a sentence of the adapter."""

    def aside(self, aside: Aside) -> None:
        """Take what only those see who watch the turn now (harness.asides)."""

    def spent(self, tokens: Tokens) -> None:
        """Take what the turn cost so far, as far as it is known. It counts if the turn is ended without an outcome."""

    def compacted(self, before: int | None, after: int | None) -> None:
        """Take that the CLI compacted the conversation by itself. Tokens of the context; None: not reported."""


class Tools(Protocol):
    """The actions of the script runtime during a turn. Each method raises Refused with the reason."""

    async def send(self, to: str, body: str) -> None:
        """Send a message, or with "*" a broadcast."""

    async def ask(self, to: str, question: str, options: Sequence[str] = (), *, multi: bool = False) -> None:
        """Ask an agent or the operator. The answer comes later, as a helper event."""

    async def answer(self, id: int, text: str) -> None:
        """Answer a question to this agent."""

    async def remind(self, message: str, seconds: int) -> None:
        """Schedule a reminder: `message` arrives from `reminder` in `seconds` seconds."""

    async def request_apply_commit(self, agent: AgentName, commit: Sha, description: str) -> None:
        """Request approval of a commit in the agent's proposed repo."""


class Runtime(Protocol):
    """One way to do turns. One caller at a time, but for `interrupt`, `inject` and `close`, which come during a turn.

    A turn may be cancelled (asyncio) at every await: the runtime then ends its process with every descendant.
    """

    name: str
    capabilities: Capabilities
    default_model: str
    """The model of a turn for which nobody named one. Empty: it is the CLI's to choose."""

    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """Do one turn. It raises no error for what a CLI or an API does; a HiveError counts as `crashed`."""

    async def inject(self, text: str) -> bool:
        """Give the model a text within the running turn. Return False if there is none or the CLI cannot.

        True is no proof that the model sees it: the outcome of the turn names those that it may not have seen.
        """

    async def interrupt(self) -> None:
        """Ask the CLI to stop its turn, which then ends as `cancelled`. Return at once; harmless without a turn."""

    async def compact(self, session: str | None, sink: Sink) -> Compacted | None:
        """Compact the conversation. None: there is nothing to compact, or this runtime cannot.

        Raise CompactionFailed if the CLI tried and could not.
        """

    async def version(self) -> str:
        """Return the CLI's version. Raise HiveError with the remedy if it is missing, too old or does not start."""

    async def close(self) -> None:
        """End the process with every descendant, also those that left its process group. Harmless without one."""
