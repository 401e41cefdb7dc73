"""The loop with a scripted runtime: good turns, and the conversation that they continue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.runtimes.base import Ending, Sink, Tokens, TurnOutcome, TurnRequest
from meta.agent_toml.settings import parse_settings
from meta.wire.link import Verb
from meta.wire.live import ToolCall, TurnEnd, TurnStart, Usage
from tests.harness.inside import Inside
from tests.support.scripted_runtime import OK, ends

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


async def test_a_good_turn_is_acknowledged_and_the_next_one_resumes_its_conversation(
    inside: Inside, hive: FakeHive
) -> None:
    await hive.post("operator", "first")
    await hive.post("bob", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    first, second = inside.runtime.requests
    assert (first.session, second.session) == (None, "s1")
    assert "first" in first.prompt
    assert "1 other message waits" in first.prompt
    assert "the agent bob" in second.prompt
    (start, _) = inside.events.of(TurnStart)
    assert (start.sender, start.body, start.unread, start.turn) == ("operator", "first", 1, 1)
    assert [end.ok for end in inside.events.of(TurnEnd)] == [True, True]


async def test_a_crash_keeps_the_conversation(inside: Inside, hive: FakeHive) -> None:
    inside.runtime.steps = [OK, ends(Ending.CRASHED, "killed by signal 9", session="s1")]
    await hive.post("operator", "first")
    await hive.post("operator", "second")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
    assert [request.session for request in inside.runtime.requests] == [None, "s1", "s1"]


async def test_the_conversation_is_resumed_by_the_next_harness(inside: Inside, hive: FakeHive) -> None:
    for count in (1, 2):
        await hive.post("operator", "work")
        async with inside.start():
            await hive.until(lambda count=count: hive.acks == count)  # type: ignore[misc]
    assert [request.session for request in inside.runtime.requests] == [None, "s1"]


async def test_the_first_turn_of_a_new_generation_says_what_changed_and_later_ones_do_not(
    inside: Inside, hive: FakeHive
) -> None:
    async def one_turn() -> str:
        acks = hive.acks
        await hive.post("operator", "work")
        async with inside.start():
            await hive.until(lambda: hive.acks == acks + 1)
        return inside.runtime.requests[-1].prompt

    assert "configuration changed" not in await one_turn()
    inside.settings, inside.generation = parse_settings(b'model = "opus"'), "g2"
    assert 'Your configuration changed:\n- model: the runtime\'s default -> "opus"' in await one_turn()
    assert "configuration changed" not in await one_turn()


async def test_the_statistics_of_a_turn_say_what_it_used(inside: Inside, hive: FakeHive) -> None:
    async def work(_request: TurnRequest, sink: Sink) -> TurnOutcome:
        sink.line([ToolCall(id="1", name="Bash"), ToolCall(id="2", name="Bash")], {"any": "line"})
        sink.line([ToolCall(id="3", name="Read")], "text")
        tokens = Tokens(input=10, output=20, cached=5, cost_dollars=0.5)
        return TurnOutcome(Ending.OK, session="s1", tokens=tokens, model="haiku-4")

    inside.runtime.steps = [work]
    await hive.post("bob", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 1)
    (usage,) = inside.events.of(Usage)
    assert usage.tools == {"Bash": 2, "Read": 1}
    assert (usage.runtime, usage.model, usage.source, usage.ending) == ("scripted", "haiku-4", "bob", "ok")
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cost_dollars) == (10, 20, 5, 0.5)


async def test_a_state_directory_that_is_missing_ends_nothing(inside: Inside, hive: FakeHive, base: Path) -> None:
    (base / "state").write_text("no directory")
    inside.base = base
    await hive.post("operator", "work")
    await hive.post("operator", "work")
    async with inside.start():
        await hive.until(lambda: hive.acks == 2)
        assert "a warning" in (await hive.control(Verb.MODEL, "opus")).text
    assert [request.session for request in inside.runtime.requests] == [None, "s1"]
