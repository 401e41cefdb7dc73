"""The methods of a pod's clients, over its socket, with the harness's own parts behind it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness.gate import Gate
from harness.pod.pod import Outside, Pod
from harness.pod.requests import Requests
from harness.pod.table import METHODS, TABLE, Act, PodState
from harness.pod.translate import Translator
from harness.runtimes.base import Ending, Fault, Sink, Tokens, TurnOutcome, TurnRequest
from meta.wire.link import Hold, TurnState, Verb
from meta.wire.live import Text, TextDelta, ToolCall, ToolResult
from meta.wire.pod import Cancel, ErrorCode, Event, Greeting, Method, Pause
from tests.harness.inside import Inside, poll
from tests.support.pod_client import PodClient, pod_client
from tests.support.scripted_runtime import ends, hangs

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

PARAMS = {
    "run": {"input": "again"},
    "notify": {"message": "the build is done"},
    "pod_event": {"kind": "turn_ended", "pod_name": "child"},
}


async def until_interrupted(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
    await asyncio.Event().wait()
    return TurnOutcome(Ending.CANCELLED)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.turn.STOP_SECONDS", 0.02)


class Started:
    """A harness with a client of its pod, in a state."""

    def __init__(self, inside: Inside, hive: FakeHive) -> None:
        self.inside = inside
        self.hive = hive
        self.stack = AsyncExitStack()
        self.client: PodClient
        self.gate: Gate

    async def __aenter__(self) -> Started:
        self.gate = await self.stack.enter_async_context(self.inside.start())
        await poll(lambda: (self.inside.base / "pod.sock").exists())
        self.client = await self.join()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def join(self) -> PodClient:
        return await self.stack.enter_async_context(pod_client(self.inside.base / "pod.sock"))

    async def into(self, state: PodState) -> None:
        if state is PodState.IDLE:
            return
        self.inside.runtime.steps = [until_interrupted]
        await self.client.send("run", {"input": "work"})
        await self.client.until_event("turn_start")
        await poll(lambda: self.inside.runtime.requests)
        if state is PodState.PAUSED:
            await self.client.send("pause")
            assert (await self.client.until_event("run_end"))["data"]["result"] == "paused"


def expected_events(act: Act) -> list[str]:
    """Return what every client sees of an act, to its end."""
    return {
        Act.START: ["turn_start", "turn_end", "run_end"],
        Act.REPLACE: ["turn_start", "turn_end", "run_end"],
        Act.GO_ON: ["turn_start", "turn_end", "run_end"],
        Act.WAKE: ["turn_start", "turn_end", "run_end"],
        Act.STOP: ["turn_end", "run_end"],
        Act.PAUSE: ["turn_end", "run_end"],
    }.get(act, [])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("method", "state"), TABLE)
async def test_each_method_in_each_state_does_what_the_table_says(
    inside: Inside, hive: FakeHive, method: str, state: PodState
) -> None:
    row = TABLE[method, state]
    async with Started(inside, hive) as started:
        await started.into(state)
        inside.pod.driven.take_event = lambda event: f"{event.kind} of a child"
        other = await started.join()
        client = started.client
        before = len(client.events)
        answer = await client.ask(method, PARAMS.get(method))
        if row.error is not None:
            assert (answer["event"], answer["data"]["code"]) == ("error", row.error)
        elif row.act is Act.SHOW:
            assert answer["event"] == "history"
            assert answer["data"]["greeting"]["pod_name"] == "alice"
        else:
            assert answer == {"event": "accepted", "id": answer["id"]}
        wanted = expected_events(row.act)
        while (seen := [kind for kind in client.kinds[before:] if kind not in ("error", "history")]) != wanted:
            await client.next()
        if row.act is Act.SHUT_DOWN:
            await hive.until(lambda: hive.shutdowns == 1)
        after = row.state if row.state is not PodState.RUNNING or row.error or row.act is Act.INJECT else None
        if after is not None:
            assert started.inside.pod.pod.state is after
        # the answer went to its asker alone
        for _ in seen:
            assert "id" not in (await other.next() or {})
        assert not any(kind in ("error", "history") for kind in other.kinds)


def test_the_table_has_each_method_in_each_state_once() -> None:
    assert set(TABLE) == {(method, state) for method in METHODS for state in PodState}


@pytest.mark.usefixtures("quick")
async def test_a_paused_turn_on_a_message_of_hive_goes_on_with_it_and_says_so(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.steps = [until_interrupted]
    async with Started(inside, hive) as started:
        await hive.post("bob", "work")
        await started.client.until_event("turn_start")
        await poll(lambda: inside.runtime.requests)
        await started.client.send("pause")
        await started.client.until_event("run_end")
        await hive.until(lambda: hive.turn is TurnState.PAUSED)
        assert "resume" in hive.states[-1].reason
        assert (hive.acks, hive.waiting) == (0, 1)
        await started.client.send("resume")
        await started.client.until_event("run_end")
        await hive.until(lambda: hive.acked == [1])
        first, second = inside.runtime.requests
        assert (first.goes_on, second.goes_on) == (False, True)
        assert "was paused, and goes on now" in second.prompt


@pytest.mark.usefixtures("quick")
async def test_a_run_in_a_pause_replaces_the_paused_one_and_its_message_counts_as_done(
    inside: Inside, hive: FakeHive
) -> None:
    inside.runtime.steps = [until_interrupted]
    async with Started(inside, hive) as started:
        await hive.post("bob", "work")
        await started.client.until_event("turn_start")
        await poll(lambda: inside.runtime.requests)
        await started.client.send("pause")
        await started.client.until_event("run_end")
        await started.client.send("run", {"input": "this instead"})
        await started.client.until_event("run_end")
        await hive.until(lambda: hive.acked == [1])
    assert len(inside.runtime.requests) == 2
    assert "this instead" in inside.runtime.requests[1].prompt
    assert "was interrupted by a person" in inside.runtime.requests[1].prompt


@pytest.mark.usefixtures("quick")
async def test_a_pause_outlives_a_restart_of_the_harness_and_nothing_is_lost(inside: Inside, hive: FakeHive) -> None:
    async with Started(inside, hive) as started:
        await started.into(PodState.PAUSED)
        await started.client.ask("notify", {"message": "by the way"})
    async with Started(inside, hive) as started:
        assert started.inside.pod.pod.state is PodState.PAUSED
        await started.client.send("resume")
        await started.client.until_event("run_end")
        request = inside.runtime.requests[-1]
        assert "work" in request.message.body
        assert "by the way" in request.prompt


@pytest.mark.usefixtures("quick")
async def test_what_hive_holds_no_client_of_the_pod_begins(inside: Inside, hive: FakeHive) -> None:
    async with Started(inside, hive) as started:
        for hold, words in (
            (Hold(paused=True, releases=True), "hive resume"),
            (Hold(over_budget=True, releases=True), "budget"),
        ):
            await hive.order(hold)
            await poll(lambda: started.gate.held)
            answer = await started.client.ask("run", {"input": "work"})
            assert answer["data"]["code"] == ErrorCode.INTERNAL
            assert words in answer["data"]["message"]
            await hive.order(Hold(releases=True))
            await poll(lambda: not started.gate.held)
    assert not inside.runtime.requests


@pytest.mark.parametrize(
    ("outcome", "code", "result"),
    [
        (TurnOutcome(Ending.OK), None, "finished"),
        (TurnOutcome(Ending.PARKED, "overloaded", 0.0), "provider_error", "finished"),
        (TurnOutcome(Ending.NEEDS_LOGIN, "no login"), "provider_error", "finished"),
        (TurnOutcome(Ending.REFUSED, "no"), "provider_error", "finished"),
        (TurnOutcome(Ending.REFUSED, "max", fault=Fault.LIMIT), None, "limit_reached"),
        (TurnOutcome(Ending.PARKED, "no tools", fault=Fault.TOOLS), "tool_error", "finished"),
        (TurnOutcome(Ending.CRASHED, "it ended"), "internal", "finished"),
    ],
)
async def test_the_end_of_a_turn_is_an_end_of_its_run_with_the_error_before_it(
    inside: Inside, hive: FakeHive, outcome: TurnOutcome, code: str | None, result: str
) -> None:
    inside.runtime.steps = [ends(outcome.ending)]

    async def step(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        return outcome

    inside.runtime.steps = [step]
    async with Started(inside, hive) as started:
        await started.client.send("run", {"input": "work"})
        end = await started.client.until_event("run_end")
        assert end["data"]["result"] == result
        errors = [line["data"] for line in started.client.lines if line["event"] == "error"]
        assert [error["code"] for error in errors] == ([code] if code else [])
        assert all(error["message"] == outcome.reason for error in errors)
        await poll(lambda: started.inside.pod.pod.state is PodState.IDLE)
        await hive.until(lambda: hive.pods[-1].pods[0].result == ("error" if code else result))
        reports = ["errored"] if code else ["turn_ended"] if result == "finished" else []
        await hive.until(lambda: [report["kind"] for report in hive.reports] == reports)


async def test_a_turn_that_takes_too_long_reaches_a_limit(
    inside: Inside, hive: FakeHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.settings = inside.settings.model_copy(
        update={"limits": inside.settings.limits.model_copy(update={"turn_seconds": 0.05})}
    )
    inside.runtime.steps = [hangs]
    async with Started(inside, hive) as started:
        await started.client.send("run", {"input": "work"})
        assert (await started.client.until_event("run_end"))["data"]["result"] == "limit_reached"


async def test_a_text_for_the_model_is_in_the_history_before_the_model_has_it(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.capabilities = inside.runtime.capabilities.__class__(
        resume=True, inject=True, compact=True, login=False, cost=True, context=True
    )
    over = asyncio.Event()

    async def waits(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await over.wait()
        return TurnOutcome(Ending.OK)

    inside.runtime.steps = [waits]
    async with Started(inside, hive) as started:
        await started.client.send("run", {"input": "work"})
        await poll(lambda: inside.runtime.requests)
        await started.client.ask("notify", {"message": "the build is done"})
        assert "the build is done" in inside.runtime.injected[0]
        items = (await started.client.ask("get_history"))["data"]["items"]
        assert {"type": "note", "text": "notification: the build is done"} in items
        over.set()
        await started.client.until_event("run_end")
    assert len(inside.runtime.requests) == 1  # it was seen within the turn


async def test_a_text_that_the_model_may_not_have_seen_comes_again(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.capabilities = inside.runtime.capabilities.__class__(
        resume=True, inject=True, compact=True, login=False, cost=True, context=True
    )
    over = asyncio.Event()

    async def misses(_request: TurnRequest, _sink: Sink) -> TurnOutcome:
        await over.wait()
        return TurnOutcome(Ending.OK, unseen=tuple(inside.runtime.injected))

    inside.runtime.steps = [misses]
    async with Started(inside, hive) as started:
        await started.client.send("run", {"input": "work"})
        await poll(lambda: inside.runtime.requests)
        await started.client.ask("notify", {"message": "the build is done"})
        over.set()
        await started.client.until_event("run_end")
        await started.client.until_event("run_end")
    assert "the build is done" in inside.runtime.requests[1].prompt


async def test_the_events_of_a_turn_come_in_the_order_of_the_seed(inside: Inside, hive: FakeHive) -> None:
    async def works(_request: TurnRequest, sink: Sink) -> TurnOutcome:
        sink.line([TextDelta(text="he")], None, repeated=True)
        sink.line([Text(text="hello")], {})
        sink.line([ToolCall(id="t1", name="Bash", input='{"command":"ls"}')], {})
        sink.line([ToolResult(id="t1", output="x", is_error=True)], {})
        sink.note("claude was started again")
        return TurnOutcome(Ending.OK, tokens=Tokens(input=3, output=4))

    inside.runtime.steps = [works]
    async with Started(inside, hive) as started:
        client = started.client
        await client.send("run", {"input": "work"})
        await client.until_event("run_end")
        late = await started.join()
        await late.send("get_history")
        history = await late.until_event("history")
    assert client.kinds == [
        *("turn_start", "text_delta", "text_done", "tool_call_start", "tool_call_args_delta", "tool_call_done"),
        *("tool_result", "notification", "usage", "turn_end", "run_end"),
    ]
    assert client.lines[6]["data"] == {"id": "t1", "output": "x", "is_error": True}
    assert client.lines[7]["data"]["source"] == "worker"
    assert client.lines[8]["data"] == {"input_tokens": 3, "output_tokens": 4}
    assert late.kinds[0] == "notification"  # the past, once
    assert [item["type"] for item in history["data"]["items"]] == []  # the log of this test is another one
    assert not client.extra  # a client without ids sees nothing that the seed does not have


async def test_a_cancel_of_the_operator_ends_the_run_without_an_error(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.steps = [until_interrupted]
    async with Started(inside, hive) as started:
        await started.client.send("run", {"input": "work"})
        await poll(lambda: inside.runtime.requests)
        await hive.control(Verb.CANCEL)
        assert (await started.client.until_event("run_end"))["data"]["result"] == "finished"
        assert "error" not in started.client.kinds


@pytest.mark.parametrize(("method", "after"), [(Cancel(), PodState.IDLE), (Pause(), PodState.PAUSED)])
async def test_a_run_that_waits_for_a_compaction_is_taken_back_as_well(method: Method, after: PodState) -> None:
    gate, requests, events = Gate(), Requests(), list[Event]()

    async def nothing() -> tuple[dict[str, object], ...]:
        return ()

    async def no(_text: str) -> bool:
        return False

    def greeting() -> Greeting:
        raise AssertionError

    def ignore(*_: object) -> None:
        pass

    outside = Outside("alice", nothing, greeting, no, ignore, ignore, ignore, lambda _: "", str)
    own = Pod(gate, requests, Translator(events.append), outside)
    requests.run("work")
    message = requests.take()
    assert message is not None
    stop = gate.begin(TurnState.COMPACTING)
    assert own.state is PodState.RUNNING
    assert await own.do(method) is None
    gate.end(None)
    assert (own.state, requests.start(message), stop.cause is not None) == (after, False, True)
    assert [event.event for event in events] == ["run_end"]
