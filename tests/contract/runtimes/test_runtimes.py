"""The contract of a runtime with a model, tried with the real CLI and a scripted API of its model."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from harness.runtimes.acp import tools_wait
from harness.runtimes.base import Ending, Runtime
from meta.errors import HiveError
from meta.wire.live import ToolCall
from tests.contract.runtimes.lab import Call, Failure, Lab, Record, Say, Shell, Use, processes, request, turn
from tests.contract.runtimes.mcp_server import TinyMcp

STORY = " ".join(f"On day {day} we saw {day**3 % 61} birds and {day**5 % 97} fish." for day in range(1, 60))
"""No two of its parts are alike: gemini ends an answer that repeats itself."""


async def test_a_turn_gives_the_text_the_session_the_model_and_what_it_cost(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("good morning"))
    record = Record()
    outcome = await turn(runtime, "say good morning", record=record)
    assert (outcome.ending, outcome.reason, record.texts()) == (Ending.OK, "", ["good morning"])
    assert outcome.session and outcome.model
    assert "say good morning" in lab.conversation()
    assert (outcome.tokens.cost_dollars is not None) == runtime.capabilities.cost
    assert (outcome.tokens.context is not None) == runtime.capabilities.context


async def test_a_turn_asks_the_model_once_for_one_answer(lab: Lab, runtime: Runtime) -> None:
    session = None
    before = 0
    for number in range(4):  # a conversation may get a title meanwhile, which is not of a turn
        before = lab.requests() if number == 2 else before
        lab.script(Say(f"answer {number}"))
        session = (await turn(runtime, f"question {number}", session)).session
    # what one asks when its answer is there reached the API before the end of the next turn
    assert lab.requests() - before == 2


async def test_the_tokens_of_a_turn_are_those_of_its_requests(lab: Lab, runtime: Runtime) -> None:
    uses = [Use(given=3000, cached=1000, made=70), Use(given=4000, cached=2500, made=9)]
    lab.script(Call("send", {"to": "bob", "body": "hi"}, uses[0]), Say("sent", use=uses[1]))
    tokens = (await turn(runtime, "write to bob")).tokens
    counted = uses if lab.sums else uses[1:]
    given = (tokens.input or 0) + (tokens.cached or 0)
    assert (given, tokens.output) == (sum(use.given for use in counted), sum(use.made for use in counted))
    assert tokens.cached == (sum(use.cached for use in counted) if lab.counts_cached else None)


async def test_the_model_calls_a_tool_of_hive_and_sees_its_result(lab: Lab, runtime: Runtime, mcp: TinyMcp) -> None:
    lab.script(Call("send", {"to": "bob", "body": "hi"}), Say("sent"))
    record = Record()
    outcome = await turn(runtime, "write to bob", record=record)
    assert (outcome.ending, mcp.calls, mcp.refused) == (Ending.OK, [("send", {"to": "bob", "body": "hi"})], 0)
    call, result = record.calls()[0], record.results()[0]
    assert "send" in call.name
    assert ("bob" in call.input) == lab.shows_arguments
    assert (result.id, result.is_error) == (call.id, False)
    assert "send is done" in lab.conversation()


async def test_the_model_is_not_asked_before_the_cli_has_hives_tools(lab: Lab, runtime: Runtime, mcp: TinyMcp) -> None:
    mcp.seconds = 2.0  # codex waits 1 s by itself
    lab.script(Call("send", {"to": "bob", "body": "hi"}), Say("sent"))
    assert (await turn(runtime, "write to bob")).ok
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]


@pytest.mark.full
async def test_a_turn_without_hives_tools_is_not_done_and_its_message_waits(
    lab: Lab, runtime: Runtime, mcp: TinyMcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools_wait, "SECONDS", 3.0)
    mcp.down = True
    outcome = await turn(runtime, "write to bob")
    assert outcome.ending is Ending.PARKED
    assert "hive's tools" in outcome.reason
    mcp.down = False
    lab.script(Call("send", {"to": "bob", "body": "hi"}), Say("sent"))
    assert (await turn(runtime, "write to bob", outcome.session)).ok
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]


@pytest.mark.full
async def test_turns_of_one_process_continue_the_conversation(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("one"), Say("two"))
    first = await turn(runtime, "the first question")
    second = await turn(runtime, "the second question", first.session)
    assert (second.ending, second.session) == (Ending.OK, first.session)
    assert "the first question" in lab.conversation()


async def test_a_new_process_resumes_the_conversation_as_far_as_the_runtime_can(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("one"), Say("two"))
    first = await turn(runtime, "the first question")
    await runtime.close()
    later = lab.make()
    second = await turn(later, "the second question", first.session)
    await later.close()
    assert second.ending is Ending.OK
    assert ("the first question" in lab.conversation()) == later.capabilities.resume


async def test_a_conversation_that_the_cli_does_not_know_begins_anew_with_a_note(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("hello"))
    record = Record()
    lost = "11111111-1111-4111-8111-111111111111"
    outcome = await turn(runtime, "hello", lost, record=record)
    assert (outcome.ending, record.texts()) == (Ending.OK, ["hello"])
    assert outcome.session not in (None, lost)
    assert record.notes


@pytest.mark.full
async def test_without_a_session_a_turn_begins_a_new_conversation(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("one"), Say("two"))
    first = await turn(runtime, "the first question")
    second = await turn(runtime, "the second question")
    assert second.session != first.session
    assert "the first question" not in lab.conversation()


async def test_an_interrupted_turn_is_cancelled_and_the_next_one_is_unharmed(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("tick " * 100, seconds=20))
    running = asyncio.ensure_future(turn(runtime, "count"))
    await lab.asked()
    started = time.monotonic()
    await runtime.interrupt()
    outcome = await running
    assert outcome.ending is Ending.CANCELLED
    assert time.monotonic() - started < 10
    lab.script(Say("again"))
    assert (await turn(runtime, "go on", outcome.session)).ok


@pytest.mark.full
async def test_interrupt_and_inject_without_a_turn_do_nothing(lab: Lab, runtime: Runtime) -> None:
    await runtime.interrupt()
    assert not await runtime.inject("anybody there?")
    lab.script(Say("here"))
    outcome = await turn(runtime, "hello")
    await runtime.interrupt()
    assert not await runtime.inject("anybody there?")
    lab.script(Say("still here"))
    record = Record()
    assert (await turn(runtime, "hello again", outcome.session, record=record)).ok
    assert record.texts() == ["still here"]


async def test_a_text_reaches_the_model_within_the_turn_if_the_runtime_can(
    lab: Lab, runtime: Runtime, mcp: TinyMcp
) -> None:
    lab.script(Call("wait"), Say("both are done"))
    record = Record()
    running = asyncio.ensure_future(turn(runtime, "wait for me", record=record))
    await asyncio.to_thread(mcp.called.wait, 20)
    given = await runtime.inject("by the way: hurry")
    assert given == runtime.capabilities.inject
    if given:
        await lab.holds(record)
    mcp.release.set()
    outcome = await running
    assert (outcome.ending, record.texts()) == (Ending.OK, ["both are done"])
    assert ("by the way: hurry" in lab.conversation()) == runtime.capabilities.inject


@pytest.mark.full
async def test_a_text_that_comes_too_late_for_the_turn_still_reaches_the_model(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("slowly now", seconds=0.5), Say("and that too"))
    record = Record()
    running = asyncio.ensure_future(turn(runtime, "talk", record=record))
    await lab.asked()
    given = await runtime.inject("and something else")
    outcome = await running
    assert outcome.ending is Ending.OK
    assert record.texts() == (["slowly now", "and that too"] if given else ["slowly now"])


def names_a_remedy(reason: str) -> bool:
    """Return True if the reason for a missing login names a command that helps: not each runtime's login is driven."""
    return "hive login" in reason or "hive shell" in reason


async def test_each_way_in_which_the_api_fails_has_its_ending_and_the_next_turn_is_done(
    lab: Lab, runtime: Runtime
) -> None:
    session = None
    for kind in ("away", "overload", "limit", "refused", "overflow", "key", "no-model"):
        with lab.failing(Failure(kind)):
            outcome = await turn(runtime, "are you there?", session)
        assert (kind, outcome.ending, outcome.until) == (kind, lab.endings[kind], None)
        assert outcome.reason or outcome.ok
        assert kind != "key" or names_a_remedy(outcome.reason)
        assert kind != "no-model" or "hive model" in outcome.reason
        session = outcome.session
    lab.script(Say("back"))
    assert (await turn(runtime, "and now?", session)).ok


async def test_a_limit_parks_the_turn_until_it_resets(lab: Lab, runtime: Runtime) -> None:
    resets = float(int(time.time()) + 3600)
    with lab.failing(Failure("limit", resets)):
        outcome = await turn(runtime, "hello")
        again = await turn(runtime, "hello", outcome.session)
    named = resets if lab.reports_limits else None
    assert (outcome.ending, outcome.until) == (Ending.PARKED, named)
    assert (again.ending, again.until) == (Ending.PARKED, named)


@pytest.mark.full
async def test_a_cli_without_a_login_needs_one(lab: Lab) -> None:
    runtime = lab.make(logged_in=False)
    outcome = await turn(runtime, "hello")
    await runtime.close()
    assert outcome.ending is Ending.NEEDS_LOGIN
    assert names_a_remedy(outcome.reason)


async def test_a_compacted_conversation_is_shorter_and_goes_on(lab: Lab, runtime: Runtime) -> None:
    assert await runtime.compact(None, Record()) is None
    lab.script(Say(STORY), Say("two"), Say("three"))
    first = await turn(runtime, "the first question")
    second = await turn(runtime, "the second question", first.session)
    assert STORY in lab.conversation()
    compacted = await runtime.compact(second.session, Record())
    assert (compacted is not None) == runtime.capabilities.compact
    session = compacted.session if compacted and compacted.session else second.session
    assert (await turn(runtime, "the third question", session)).ok
    assert (STORY in lab.conversation()) == (compacted is None)


async def test_another_model_takes_the_next_turn(lab: Lab, runtime: Runtime) -> None:
    lab.script(Say("one"), Say("two"))
    first = await turn(runtime, "hello", model=lab.models[0])
    before = lab.model()
    second = await turn(runtime, "hello", first.session, model=lab.models[1])
    assert (second.ending, second.session) == (Ending.OK, first.session)
    assert lab.models[0] in before and lab.models[1] in lab.model()


async def test_a_cli_that_is_killed_in_its_turn_crashed_and_the_conversation_goes_on(
    lab: Lab, runtime: Runtime, tmp_path: Path
) -> None:
    lab.script(Say("one"))
    first = await turn(runtime, "the first question")
    with lab.failing(Failure("hang")):
        running = asyncio.ensure_future(turn(runtime, "the second question", first.session))
        await lab.asked()
        for pid in processes(tmp_path / "home"):
            os.kill(pid, signal.SIGKILL)
        outcome = await running
    assert (outcome.ending, outcome.session) == (Ending.CRASHED, first.session)
    assert "9" in outcome.reason
    lab.script(Say("three"))
    assert (await turn(runtime, "the third question", outcome.session)).ok
    assert ("the first question" in lab.conversation()) == runtime.capabilities.resume


async def test_the_end_of_the_runtime_ends_the_shells_of_the_model_too(
    lab: Lab, runtime: Runtime, tmp_path: Path
) -> None:
    record = Record()
    lab.script(Shell('setsid python3 -c \'import time; open("up", "w"); time.sleep(300)\''), Say("never"))
    running = asyncio.ensure_future(turn(runtime, "run it", record=record))
    while not list(tmp_path.rglob("up")):
        await asyncio.sleep(0.02)
    assert len(list(processes(tmp_path / "home"))) >= 2
    await runtime.close()
    assert list(processes(tmp_path / "home")) == []
    assert (await running).ending is Ending.CRASHED
    assert [type(item) for item in record.items if isinstance(item, ToolCall)] == [ToolCall]


@pytest.mark.full
async def test_a_turn_that_is_cancelled_from_above_leaves_no_process(
    lab: Lab, runtime: Runtime, tmp_path: Path
) -> None:
    with lab.failing(Failure("hang")):
        running = asyncio.ensure_future(turn(runtime, "hello"))
        await lab.asked()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert list(processes(tmp_path / "home")) == []


GARBAGE = {
    "one that prints garbage": "echo '{\"type\":'; echo garbage; head -c 3000000 /dev/zero; exit 3",
    "one that ends at once": "exit 0",
    "one that closes its output": "exec >&-; exec sleep 60",
    "one that ignores SIGTERM": "trap '' TERM; exec 1>&-; while read -t 60 <> <(:); do :; done",
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_a_program_that_is_not_the_cli_keeps_the_message_and_leaves_no_process(
    lab: Lab, tmp_path: Path, kind: str
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/bash\n{GARBAGE[kind]}\n")
    program.chmod(0o755)
    runtime = lab.make([str(program)])
    async with asyncio.timeout(40):
        outcome = await turn(runtime, "hello")
        await runtime.close()
    assert outcome.ending in (Ending.PARKED, Ending.CRASHED)
    assert outcome.reason


async def test_a_cli_that_is_missing_parks_the_turn_and_says_how_to_get_it(lab: Lab, tmp_path: Path) -> None:
    runtime = lab.make([str(tmp_path / "missing")])
    outcome = await runtime.turn(request("hello"), Record())
    assert outcome.ending is Ending.PARKED
    assert "install" in outcome.reason
    with pytest.raises(HiveError, match="missing"):
        await runtime.version()


async def test_the_version_of_the_cli_is_known(runtime: Runtime) -> None:
    assert (await runtime.version())[0].isdecimal()
