"""From live events to turns and items: what grows, what is joined, what is never twice."""

from __future__ import annotations

import pytest

from api.ui.transcript.items import Call, Item, Remark, Say, Turn
from api.ui.transcript.transcript import ITEMS_MOST, OPEN_MOST, Transcript
from api.ui.transcript.words import summary
from tests.support.live_lines import (
    Event,
    call,
    delta,
    items,
    result,
    text,
    turn_end,
    turn_start,
    usage,
)


def fed(*events: object) -> Transcript:
    transcript = Transcript()
    for number, event in enumerate(events, 1):
        transcript.add(f"log1-{number}", 100 + number, event)
    return transcript


def last(transcript: Transcript) -> list[Item]:
    return transcript.turns[-1].items


def test_a_text_grows_as_one_item_and_ends_as_the_whole() -> None:
    transcript = fed(turn_start(), delta("I "), delta("see"))
    assert last(transcript) == [Say("log1-2", 102, "I see", growing=True)]
    transcript.add("log1-4", 104, text("I see."))
    assert last(transcript) == [Say("log1-2", 102, "I see.")]


@pytest.mark.parametrize("pieces", [("see",), ("I se", "e"), ("I ", "see.")])
def test_a_text_that_was_joined_late_is_not_twice_once_it_is_whole(pieces: tuple[str, ...]) -> None:
    transcript = fed(turn_start(), *map(delta, pieces), text("I see."))
    assert [item.text for item in last(transcript) if isinstance(item, Say)] == ["I see."]


@pytest.mark.parametrize(
    "between", [items({"type": "notice", "level": "warn", "text": "again"}), usage(), result("a", "out")]
)
def test_what_happens_while_a_text_is_written_cuts_it_in_no_way(between: Event) -> None:
    transcript = fed(turn_start(), call("a", "Bash"), delta("I "), between, delta("see"), text("I see."))
    assert [item for item in last(transcript) if isinstance(item, Say)] == [Say("log1-3", 103, "I see.")]


def test_a_result_finds_its_call_whatever_comes_between() -> None:
    transcript = fed(turn_start(), call("a", "Bash", command="ls"), call("b", "Read"), text("x"), result("a", "out"))
    first, second, *_ = last(transcript)
    assert isinstance(first, Call) and (first.output, first.ended_at) == ("out", 105)
    assert isinstance(second, Call) and second.ended_at is None and not second.lost


def test_a_call_without_a_result_is_lost_when_its_turn_ends_and_a_late_result_stands_by_itself() -> None:
    transcript = fed(turn_start(), call("a", "Bash"), turn_end())
    (lost, _) = last(transcript)
    assert isinstance(lost, Call) and lost.lost
    transcript.add("log1-4", 104, result("a", "late"))
    assert isinstance(late := last(transcript)[-1], Call) and late.output == "late"


def test_changes_are_told_once_and_a_turn_is_a_new_cut() -> None:
    transcript = fed(turn_start(), text("a"), call("a", "Bash"))
    assert transcript.recut
    assert transcript.take_changes() == ["log1-2", "log1-3"]
    transcript.recut = False
    transcript.add("log1-4", 104, result("a"))
    assert (transcript.take_changes(), transcript.take_changes(), transcript.recut) == (["log1-3"], [], False)


def test_items_of_one_line_have_keys_of_their_own() -> None:
    line = items({"type": "text", "text": "a"}, {"type": "tool_call", "id": "t", "name": "Bash"})
    assert [item.key for item in last(fed(turn_start(), line))] == ["log1-2", "log1-2_1"]


def test_a_turn_says_what_it_took() -> None:
    transcript = fed(turn_start(40), call("a", "Bash"), result("a"), text("The list is paged."), usage(1080, 1.84))
    transcript.add("log1-6", 160, turn_end(40))
    assert summary(transcript.turns[0]) == "Turn 40, 18 min, 1 call, $1.84: “The list is paged.”"
    assert last(transcript)[-1] == Remark("log1-6", 160, "Ended after 18 min, 1 call, $1.84")


def test_a_turn_that_failed_says_why_in_red() -> None:
    remark = last(fed(turn_start(), turn_end(ok=False, note="no credit")))[-1]
    assert isinstance(remark, Remark) and remark.kind == "bad" and "no credit" in remark.text


def test_a_turn_whose_beginning_is_not_kept_is_shown_as_such() -> None:
    transcript = fed(text("a"), result("x", "of a call before"), turn_start())
    assert summary(transcript.turns[0]) == "A turn whose beginning is not kept any more, 2 events"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"kind": "note", "text": "the CLI is started again"}, "the CLI is started again"),
        ({"kind": "state", "state": "parked", "since": 1.0, "until": 9.0, "reason": "limit"}, "Parked: limit"),
        ({"kind": "compaction", "trigger": "watermark", "tokens_before": 160_000}, "160,000 → ? tokens"),
        (items({"type": "notice", "level": "warn", "text": "overloaded"}), "overloaded"),
        (items({"type": "unknown", "name": "rate"}), "does not know: rate"),
        ({"kind": "new of another hive"}, "does not know: new of another hive"),
        ("no object", "does not know: None"),
    ],
)
def test_whatever_comes_has_its_place(event: Event, words: str) -> None:
    remark = last(fed(turn_start(), event))[-1]
    assert isinstance(remark, Remark) and words in remark.text


def test_a_state_that_the_head_shows_is_no_item() -> None:
    assert last(fed(turn_start(), {"kind": "state", "state": "thinking", "since": 1.0})) == []


def test_what_is_kept_is_bounded() -> None:
    transcript = fed(*(event for turn in range(50) for event in (turn_start(turn), *[text("a")] * 100)))
    assert sum(len(turn.items) for turn in transcript.turns) <= ITEMS_MOST + 100
    assert all(transcript.item(item.key) is item for turn in transcript.turns for item in turn.items)
    many = fed(turn_start(), *(call(str(number), "Bash") for number in range(OPEN_MOST + 1)))
    many.add("log1-999", 999, result("0", "late"))
    assert isinstance(found := last(many)[-1], Call) and found.name == "A tool"


def test_the_same_events_give_the_same_turns() -> None:
    def turns() -> list[Turn]:
        return fed(turn_start(), delta("a"), text("ab"), call("a", "Bash"), result("a"), usage(), turn_end()).turns

    assert turns() == turns()
