"""The agent's own pod: its state, and what the methods of its clients do (harness.pod.table has each of them)."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from harness.asides import Aside, Warn
from harness.gate import Gate
from harness.pod.ending import RunEnding, run_ending
from harness.pod.requests import Requests, told
from harness.pod.table import REFUSALS, TABLE, Act, PodState, state_of
from harness.pod.translate import Translator
from harness.runtimes.base import TurnOutcome
from harness.stop import Cause
from harness.wake import Begins
from meta.text import one_line
from meta.wire import pod
from meta.wire.agent import MessageResponse
from meta.wire.link import TurnState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A method that was refused, and why in one line."""

    code: pod.ErrorCode
    text: str


@dataclass(frozen=True, slots=True)
class Outside:
    """What a pod needs from outside.

    `history` returns the items of its log, `greeting` what it says of itself. `inject` gives the model a text within
    the turn. `shut_down` asks for the end of the pod. `record` writes a sentence to the log. `report` takes what its
    parent is told. `take_event` takes what a child reports, and returns the line for the model, "" if it is known.
    `instructions` returns what is wrong with those in the folder of work, "" if nothing is.
    """

    name: str
    history: Callable[[], Awaitable[tuple[dict[str, object], ...]]]
    greeting: Callable[[], pod.Greeting]
    inject: Callable[[str], Awaitable[bool]]
    shut_down: Callable[[], None]
    record: Callable[[str], None]
    report: Callable[[pod.PodEvent], None]
    take_event: Callable[[pod.PodEvent], str]
    instructions: Callable[[], str]


class Pod:
    """One pod. For one event loop. `emit` takes each event for every client."""

    def __init__(self, gate: Gate, requests: Requests, translator: Translator, outside: Outside) -> None:
        self._gate = gate
        self._requests = requests
        self._translator = translator
        self._outside = outside
        self._ending: RunEnding | None = None
        self.result = ""
        """How the latest run ended: its result, or `error`."""
        self.ended: float | None = None
        """When, in Unix seconds."""
        self._in_run = False
        self._problem = ""
        self._injected: dict[str, str] = {}
        """Texts that were given to the model in this turn, as it got them, and as they came."""
        requests.listen(self._requests_changed, self.warn)
        gate.suspend(on=requests.paused)
        gate.listen(self._gate_changed)

    @property
    def state(self) -> PodState:
        """Return the state."""
        busy = self._gate.busy or self._requests.run_waits
        return state_of(busy=busy, paused=self._requests.paused or self._gate.paused)

    async def do(self, method: pod.Method) -> Refusal | pod.History | None:
        """Do what a client asks for. Return the answer for the client alone; None: it is accepted."""
        row = TABLE[method.method, self.state]
        if row.error is not None:
            return Refusal(row.error, REFUSALS[row.error])
        if (why := self._forbidden(row.act)) is not None:
            return why
        match method:
            case pod.Run(params=params):
                self._requests.run(params.input, replaces=row.act is Act.REPLACE)
            case pod.Notify(params=params):
                await self._notify(params.message, row.act)
            case pod.PodEventMethod(params=event):
                if line := self._outside.take_event(event):
                    await self._notify(line, row.act)
            case pod.GetHistory():
                items = await self._outside.history()
                return pod.History(data=pod.HistoryData(items=items, greeting=self._outside.greeting()))
            case _:
                self._act(row.act)
        return None

    def _act(self, act: Act) -> None:
        match act:
            case Act.GO_ON:
                self._requests.go_on()
            case Act.GIVE_UP:
                self._requests.give_up()
            case Act.STOP:
                if not self._stop_turn(Cause.OPERATOR) and self._requests.cancel():
                    self._translator.end_run(RunEnding(pod.RunResult.FINISHED))
            case Act.PAUSE:
                if not self._stop_turn(Cause.POD) and self._requests.hold_back():
                    self._translator.end_run(RunEnding(pod.RunResult.PAUSED))
            case Act.SHUT_DOWN:
                self._outside.shut_down()

    def _stop_turn(self, cause: Cause) -> bool:
        """Stop what the gate has. Return False if that is no run: nothing, or a compaction between two turns."""
        between = self._gate.status.state is TurnState.COMPACTING and not self._in_run
        return self._gate.stop(cause) and not between

    def _forbidden(self, act: Act) -> Refusal | None:
        """Return why a run cannot begin now although the table allows it: hive or the provider is against it."""
        if act not in (Act.START, Act.REPLACE, Act.GO_ON, Act.GIVE_UP):
            return None
        gate = self._gate
        if gate.paused:
            return Refusal(pod.ErrorCode.INTERNAL, "the operator paused the agent: `hive resume` ends that")
        if act is Act.GIVE_UP:
            return None
        if gate.draining:
            return Refusal(pod.ErrorCode.INTERNAL, "hive stops the agent just now; try again when it runs")
        if gate.forbidden:
            return Refusal(pod.ErrorCode.INTERNAL, gate.forbidden)
        if (wait := gate.waiting) is not None:
            return Refusal(pod.ErrorCode.PROVIDER_ERROR, one_line(f"no turn can begin: {wait.reason}"))
        return None

    def take_news(self, text: str) -> None:
        """Take what the harness itself has to say to the model, as of a sub-agent: a run begins for it if none is."""
        self._outside.record(f"notification: {one_line(text, 2_000)}")
        self._requests.notify(text, wake=self.state is not PodState.PAUSED)

    async def _notify(self, text: str, act: Act) -> None:
        """Let a text reach the model. It is in the log before."""
        self._outside.record(f"notification: {one_line(text, 2_000)}")
        given = told(text)
        if act is Act.INJECT and await self._outside.inject(given):
            self._injected[given] = text
            return
        self._requests.notify(text, wake=act is Act.WAKE)

    # what happens
    def begins(self, message: MessageResponse) -> Begins:
        """Take that a turn of hive begins, which is a run of the pod. Return what came before it."""
        self._in_run = True
        self._injected.clear()
        self._translator.begin()
        problem = self._outside.instructions()
        if problem != self._problem and problem:
            self._translator.aside(Warn("agents_md", problem))
        self._problem = problem
        return self._requests.begin(message)

    def ends(self, outcome: TurnOutcome, cause: Cause | None) -> None:
        """Take the outcome of the turn. The run is over once the loop is done with it."""
        self._ending = ending = run_ending(outcome, cause)
        for text in outcome.unseen:
            if text in self._injected:
                self._requests.notify(self._injected[text], wake=True)
        tokens = outcome.tokens
        if not self._translator.used and (tokens.input is not None or tokens.output is not None):
            self._translator.usage(tokens.input, tokens.output)
        self._translator.end(ending, outcome.reason)
        if ending.error is not None:
            self._outside.report(pod.Errored(pod_name=self._outside.name, message=one_line(outcome.reason, 500)))

    def aside(self, aside: Aside) -> None:
        """Take what only clients see."""
        self._translator.aside(aside)

    def warn(self, text: str) -> None:
        """Tell the person who watches something about the pod itself."""
        self._translator.aside(Warn("pod", text))

    def _requests_changed(self) -> None:
        self._gate.suspend(on=self._requests.paused)
        self._gate.poke()

    def _gate_changed(self) -> None:
        if not self._in_run or self._gate.busy:
            return
        self._in_run = False
        ending = self._ending or RunEnding(pod.RunResult.FINISHED, pod.ErrorCode.INTERNAL)
        self._ending = None
        self.result, self.ended = ("error" if ending.error else ending.result.value), time.time()
        self._translator.end_run(ending)
        if ending == RunEnding(pod.RunResult.FINISHED):
            self._outside.report(pod.TurnEnded(pod_name=self._outside.name))
