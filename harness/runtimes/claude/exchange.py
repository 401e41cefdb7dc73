"""One turn as a state machine over what the lines say: whose result is it, is it over, what did it cost. Pure.

A result between two turns belongs to work in the background, or to a text that came too late for its turn: the CLI then
does a turn of its own for it. Each message has a uuid, and the CLI says what becomes of it, so a result is the turn's
only once the message was started. A CLI that says nothing about messages gets the benefit of the doubt.
"""

from __future__ import annotations

from dataclasses import replace

from harness.runtimes.base import Ending, Tokens, TurnOutcome
from harness.runtimes.claude.facts import (
    ApiError,
    Boundary,
    Context,
    Fact,
    Init,
    Lifecycle,
    NotCompacted,
    RateLimit,
    Result,
)
from harness.runtimes.claude.outcome import Judgement, judge, judge_end

LOST = "No conversation found"
"""How the CLI says that it does not know a conversation."""


class Meter:
    """What a process of the CLI reports beside its turns: it outlives a turn.

    `total` is the cost of the conversation at the last result; None if it was resumed and its cost is not known yet.
    """

    def __init__(self, total: float | None) -> None:
        self.total = total
        self.model = ""
        self.context: int | None = None
        self.window: int | None = None
        self.limit: float | None = None
        """When the limit that the account has reached resets. The CLI says it once, not for every turn."""
        self._spent = [0, 0, 0]
        self._reported = [False, False, False]
        self._dollars: float | None = None
        self._unknown = False
        """The cost of a part is not known, so that of the whole is not."""
        self._requests = Tokens()
        """What the requests since the last result cost. Those of subagents are not known before the result."""
        self._request: Context | None = None
        """The latest one, which is not in `_requests` yet: each part of an answer says it again."""

    def take(self, fact: Fact) -> None:
        """Count a fact."""
        match fact:
            case Init(model=model):
                self.model = model
            case Context(before=before, added=added):
                self.context = before + added
                self._take_request(fact)
            case Boundary(after=after):
                self.context = after
            case RateLimit(rejected=rejected, resets=resets):
                self.limit = resets if rejected else None
            case Result():
                self._count(fact)

    def bill(self) -> Tokens:
        """Return what was spent since the last bill."""
        tokens = self.unbilled()
        self._spent, self._reported, self._dollars, self._unknown = [0, 0, 0], [False, False, False], None, False
        self._requests, self._request = Tokens(), None
        return tokens

    def unbilled(self) -> Tokens:
        """Return what the next bill says as far as it is known now: without a result a lower bound."""
        counts = [spent if known else None for spent, known in zip(self._spent, self._reported, strict=True)]
        dollars = None if self._unknown else self._dollars
        tokens = Tokens(counts[0], counts[1], counts[2], dollars, self.context, self.window)
        since = self._requests + _cost(self._request)
        return replace(tokens + since, context=self.context, window=self.window)

    def _take_request(self, request: Context) -> None:
        last = self._request
        if last is None or last.before != request.before:
            self._requests += _cost(last)
        elif last.added > request.added:
            return
        self._request = request

    def _count(self, result: Result) -> None:
        self._requests, self._request = Tokens(), None
        for at, count in enumerate((result.input, result.output, result.cached)):
            if count is not None:
                self._spent[at] += count
                self._reported[at] = True
        dollars = result.dollars
        if dollars is None and result.total is not None and self.total is not None:
            dollars = max(0.0, result.total - self.total)
        self._dollars = (self._dollars or 0.0) + (dollars or 0.0)
        self._unknown = self._unknown or dollars is None
        self.total = self.total if result.total is None else result.total
        known = result.windows.get(self.model) or max(result.windows.values(), default=None)
        self.window = known or self.window


def _cost(request: Context | None) -> Tokens:
    if request is None:
        return Tokens()
    return Tokens(max(0, request.before - request.cached), request.added, request.cached)


class Exchange:
    """A message to the CLI, the texts that followed it within the turn, and what came back."""

    def __init__(self, uuid: str, meter: Meter, agent: str = "AGENT") -> None:
        self.model = ""
        self.lost = False
        """The CLI does not know the conversation that it was started with."""
        self.boundary: Boundary | None = None
        self.not_compacted = ""
        self.servers: dict[str, str] = {}
        """The state of each MCP server, as the CLI said it last."""
        self.own_servers: dict[str, str] = {}
        """The same for the message itself, and not for a text that got a turn of its own after the result."""
        self._uuid = uuid
        self._agent = agent
        self._meter = meter
        self._state: str | None = None
        self._added: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._results: list[tuple[Result, str]] = []
        self._error = ""
        self._finished = False
        self._interrupted = False

    @property
    def finished(self) -> bool:
        """Return True once the turn and all that followed from it is over."""
        return self._finished

    @property
    def answered(self) -> bool:
        """Return True once there is a result. A text that was added late may still need one."""
        return bool(self._results)

    @property
    def idle(self) -> bool:
        """Return True if there is a result, and no text that was added has begun since."""
        return self.answered and "started" not in self._added.values()

    @property
    def pending(self) -> bool:
        """Return True if the CLI still has a text that was added."""
        return any(state not in ("done", "cancelled") for state in self._added.values())

    @property
    def added(self) -> tuple[str, ...]:
        """Return the texts that were written within the turn."""
        return tuple(self._texts.values())

    def add(self, uuid: str, text: str) -> None:
        """Note that a text was written within the turn."""
        self._added[uuid], self._texts[uuid] = "written", text

    def interrupt(self) -> None:
        """Note that the end of the turn was asked for."""
        self._interrupted = True

    def take(self, fact: Fact) -> None:
        """Take what a line says."""
        self._meter.take(fact)
        match fact:
            case Lifecycle(uuid=uuid, state=state) if uuid == self._uuid:
                self._state = state
            case Lifecycle(uuid=uuid, state=state) if uuid in self._added:
                self._follow(uuid, state)
            case Init(model=model, servers=servers):
                self.model, self.servers = model, dict(servers)
                if not self.answered:
                    self.own_servers = self.servers
            case ApiError(kind=kind):
                self._error = kind
            case Boundary():
                self.boundary = fact
            case NotCompacted(error=error):
                self.not_compacted = error
            case Result():
                self._end(fact)

    def outcome(self, now: float, code: int | None, stderr: str) -> TurnOutcome:
        """Return the outcome. `code` and `stderr` are the CLI's, in case it ended or closed its output."""
        judgement = self._judgement(now, code, stderr)
        tokens, reason = self._meter.bill(), judgement.describe(self._agent)
        unseen = tuple(text for uuid, text in self._texts.items() if self._added[uuid] != "done")
        return TurnOutcome(
            judgement.ending,
            reason,
            judgement.until,
            tokens=tokens,
            model=self.model,
            unseen=unseen,
            person=judgement.person,
            fault=judgement.fault,
            refusal=judgement.reason if judgement.ending is Ending.NEEDS_LOGIN else "",
        )

    def _judgement(self, now: float, code: int | None, stderr: str) -> Judgement:
        if not self._results:
            if self._interrupted:
                return Judgement(Ending.CANCELLED, "the turn was interrupted")
            return judge_end(code, stderr)
        endings = [
            judge(result, error, self._meter.limit, now, interrupted=self._interrupted)
            for result, error in self._results
        ]
        return next((ending for ending in endings if ending.ending is not Ending.OK), endings[-1])

    def _follow(self, uuid: str, state: str) -> None:
        if self._added[uuid] != "done":
            self._added[uuid] = state
        if state == "cancelled" and self.answered and not self.pending:
            self._finished = True

    def _end(self, result: Result) -> None:
        if not self._is_mine(result):
            return
        self._results.append((result, self._error))
        self._error = ""
        self.lost = result.is_error and result.text.startswith(LOST)
        for uuid, state in self._added.items():
            if state in ("started", "completed"):
                self._added[uuid] = "done"
        self._finished = self._interrupted or not self.pending

    def _is_mine(self, result: Result) -> bool:
        return result.origin != "task-notification" and self._state != "queued"
