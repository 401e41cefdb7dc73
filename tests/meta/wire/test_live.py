"""Live events: the encoding of seed 003, and what its tags cannot encode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.errors import BadInput
from meta.wire.link import UP, State, TurnState
from meta.wire.live import Note, Stream, Text, TurnEnd, TurnStart, Unknown, decode_event, from_object, to_object

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_kinds_of_the_seed_are_encoded_as_it_encodes_them() -> None:
    start = to_object(TurnStart(sender="bob", body="hi", unread=2))
    assert (start["kind"], start["from"], start["body"], start["unread"]) == ("turn_start", "bob", "hi", 2)
    end = to_object(TurnEnd(ok=True))
    assert (end["kind"], end["ok"], end["note"]) == ("turn_end", True, None)
    line = to_object(Stream(line={"type": "assistant", "message": {"id": "m"}}))
    assert (line["kind"], line["type"], line["message"]) == ("stream", "assistant", {"id": "m"})


def test_events_that_the_seed_wrote_are_read() -> None:
    assert decode_event('{"kind":"turn_start","from":"bob","body":"hi","unread":0}') == TurnStart(
        sender="bob", body="hi", unread=0
    )
    assert decode_event('{"kind":"turn_end","ok":false,"note":null}') == TurnEnd(ok=False)
    assert decode_event('{"kind":"stream","type":"result"}') == Stream(line={"type": "result"})


def test_a_note_has_its_text_in_a_field() -> None:
    assert to_object(Note(text="claude exited 0")) == {"kind": "note", "text": "claude exited 0"}


@given(_JSON)
def test_every_line_comes_back_as_it_was_written(line: object) -> None:
    event = Stream(items=(Text(text="a"), Unknown(name="b")), line=line)
    assert from_object(to_object(event)) == event


@pytest.mark.parametrize("text", ["", "[]", "null", '{"kind":"later"}', '{"kind":"note"}', "[" * 100_000])
def test_what_is_no_event_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadInput, match="not a live event"):
        decode_event(text)


def test_a_state_that_this_hive_does_not_know_is_read_as_unknown() -> None:
    assert UP.validate_json('{"up":"state","state":"dreaming"}') == State(state=TurnState.UNKNOWN)
