"""What `hive attach` makes of live events: lines, and what is under way."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.attach.view import BODY_LINES, TEXT_MOST, TOOLS_MOST, Style, View
from meta.wire.link import TurnState
from meta.wire.live import (
    AnyItem,
    Compaction,
    Note,
    Notice,
    StateChange,
    Stream,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolResult,
    TurnEnd,
    TurnStart,
    Unknown,
    Usage,
)


def stream(*items: AnyItem) -> Stream:
    return Stream(items=items, line={})


def shown(view: View, *items: AnyItem) -> list[str]:
    return [line.text for item in items for line in view.show(stream(item))]


def test_text_appears_as_it_is_written_and_the_whole_text_adds_only_its_rest() -> None:
    view = View()
    assert shown(view, TextDelta(text="I s"), TextDelta(text="ee.\nThe te")) == ["I see."]
    assert view.live == "The te"
    assert shown(view, TextDelta(text="st")) == []
    assert shown(view, Text(text="I see.\nThe test fails.\n")) == ["The test fails."]
    assert view.live == ""


def test_a_whole_text_without_its_pieces_or_after_other_pieces_is_shown_whole() -> None:
    view = View()
    assert shown(view, Text(text="one\n\ntwo\n")) == ["one", "", "two"]
    assert shown(view, TextDelta(text="lost beginning"), Text(text="whole")) == ["lost beginning", "whole"]


@given(st.text(alphabet="ab\n", min_size=1), st.lists(st.integers(0, 40)))
def test_however_a_text_is_cut_into_pieces_its_lines_are_the_same(text: str, cuts: list[int]) -> None:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[begin:end] for begin, end in pairwise(places)]
    lines = shown(View(), *(TextDelta(text=piece) for piece in pieces), Text(text=text))
    assert lines == text.removesuffix("\n").split("\n")


def test_a_tool_is_one_line_with_the_beginning_of_its_input_and_output() -> None:
    view = View()
    call = ToolCall(id="t", name="Bash", input='{"command":"make\\n test","timeout":3}')
    assert shown(view, call) == []
    assert view.live == "  Bash(make test) ..."
    assert shown(view, ToolResult(id="t", output="2 failed\nmore\n", is_error=True)) == [
        "  Bash(make test) failed: 2 failed (+1 lines)"
    ]
    assert view.live == ""
    assert shown(view, ToolResult(id="other", output="")) == ["  a tool"]
    assert shown(view, ToolCall(id="u", name="Read", input="not json"), ToolResult(id="u", output="x" * 200)) == [
        f"  Read(not json): {'x' * 97}..."
    ]


def test_a_tool_without_a_result_is_told_at_the_end_of_its_turn() -> None:
    view = View()
    shown(view, ToolCall(id="t", name="Bash"))
    end = TurnEnd(ok=False, note="hive ended it", ending="cancelled", turn=3)
    lines = view.show(end)
    assert [line.text for line in lines] == ["  Bash: no result", "== turn 3 ended, cancelled: hive ended it"]
    assert lines[1].style is Style.ERROR


def test_a_turn_begins_with_who_wrote_what_and_ends_with_its_cost() -> None:
    view = View()
    start = TurnStart(sender="bob", body="look\nat it", unread=2, turn=7)
    usage = Usage(runtime="claude", model="haiku", seconds=12.54, ending="ok", input_tokens=1200, cost_dollars=0.0031)
    events = (start, TurnEnd(ok=True, turn=7), usage)
    assert [line.text for event in events for line in view.show(event)] == [
        "== turn 7, from bob (2 others waiting)",
        "   look",
        "   at it",
        "== turn 7 ended, ok",
        "  12.5 s, 1,200 tokens in, $0.0031, haiku",
    ]


def test_a_long_message_is_cut() -> None:
    lines = View().show(TurnStart(sender="bob", body="x\n" * 50, unread=0))
    assert len(lines) == BODY_LINES + 2
    assert lines[-1].text == "   (30 more lines)"


def test_a_state_that_waits_is_a_line_with_its_end_and_its_reason_and_others_are_in_the_prompt() -> None:
    view = View()
    assert view.show(StateChange(state=TurnState.THINKING, since=1.0)) == []
    assert view.state == "thinking"
    (line,) = view.show(StateChange(state=TurnState.PARKED, since=1.0, until=60.0, reason="the limit\nof today"))
    assert re.fullmatch(r"-- parked until \S+ \S+: the limit of today", line.text)
    for until in (float("nan"), float("inf"), -1e300):
        (line,) = view.show(StateChange(state=TurnState.PARKED, since=1.0, until=until))
        assert line.text == "-- parked until a time that is none"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Note(text="a\nb"), ["a", "b"]),
        (Compaction(trigger="operator", tokens_before=1600), ["-- compacted (operator): 1,600 tokens before, ? after"]),
        (stream(Notice(level="warn", text="overloaded")), ["overloaded"]),
        (stream(Thinking(text="a\nb")), ["  thinks: a b"]),
        (stream(Unknown(name="later")), ["  a line of the CLI that its adapter does not know: later"]),
        (stream(), []),
    ],
)
def test_the_other_events_are_lines_too(event: Note | Compaction | Stream, line: list[str]) -> None:
    assert [each.text for each in View().show(event)] == line


@pytest.mark.parametrize("value", [None, 7, [], {"kind": "later"}, {"kind": "turn_start"}, {"kind": ["x"]}])
def test_what_is_no_event_is_one_line(value: object) -> None:
    (line,) = View().show_object(value)
    assert line.text.startswith("an event that this hive does not know: ")
    assert "\n" not in line.text


def test_a_text_and_tools_without_end_take_bounded_memory() -> None:
    view = View()
    for _ in range(5):
        shown(view, TextDelta(text="x" * (TEXT_MOST // 2)))
    assert len(view.live) <= TEXT_MOST
    for number in range(3 * TOOLS_MOST):
        shown(view, ToolCall(id=str(number), name="Bash"))
    assert len(view.break_off()) <= TOOLS_MOST + 1
