"""How items are shown: a call in a line, an edit as a diff, words as paragraphs, and all of it bounded."""

from __future__ import annotations

import json

import pytest

from api.ui.transcript.items import Call, Remark, Say, Thought, Turn
from api.ui.transcript.shown import (
    OPEN_CHARACTERS,
    TAIL,
    TURNS,
    CallView,
    SayView,
    call_body,
    item_view,
    message,
    part,
    scene,
)
from api.ui.transcript.tools import MINUS, argument, edits, outcome
from api.ui.transcript.words import Block, Run, blocks


def called(name: str = "Bash", output: str = "", *, failed: bool = False, took: int = 0, **arguments: object) -> Call:
    return Call("log1-1", 100, name, json.dumps(arguments), output, failed, 100 + took)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (called(command="ls -l", description="lists"), "ls -l"),
        (called(pattern="float", path="src/"), "float in src/"),
        (called(description="x", file_path="a.py"), "a.py"),
        (called(number=7), '{"number": 7}'),
        (called(), ""),
        (Call("k", 1, "Bash", "{not JSON"), "{not JSON"),
        (Call("k", 1, "Bash", "[" * 100_000), "[" * 239 + "…"),
        (called(command="a\nb\u202ec"), "a b\\u202ec"),
    ],
)
def test_the_argument_says_in_a_line_what_a_call_is_about(call: Call, words: str) -> None:
    assert argument(call) == words


@pytest.mark.parametrize(
    ("call", "words", "kind"),
    [
        (called(output="a\nb\n", took=4), "2 lines · 4 s", "muted"),
        (called(output="a\nb\n", took=3_900), "2 lines · 1 h 5 min", "muted"),
        (called(output=""), "no output", "muted"),
        (called(output="Exit code 2\nno", failed=True, took=1), "failed, exit 2 · 1 s", "bad"),
        (called(output="no", failed=True), "failed", "bad"),
        (
            called(output="403 a.org:443-is-not-on-the-list-of-alice", failed=True),
            "refused by the network rules",
            "warn",
        ),
        (called("Edit", file_path="a", old_string="a\n", new_string="b\nc\n"), f"+2 {MINUS}1", "muted"),
        (Call("k", 1, "Bash", ""), "", "muted"),
        (Call("k", 1, "Bash", "", lost=True), "no result", "warn"),
    ],
)
def test_the_outcome_of_a_call_is_a_few_words(call: Call, words: str, kind: str) -> None:
    assert (outcome(call).words, outcome(call).kind) == (words, kind)


@pytest.mark.parametrize(
    ("call", "counts"),
    [
        (called("Edit", file_path="a", old_string="a\n", new_string="b\n"), [(1, 1)]),
        (called("Write", file_path="a", content="x\ny\n"), [(2, 0)]),
        (called("MultiEdit", path="a", edits=[{"oldText": "a", "newText": "b"}, "junk", {"oldText": 1}]), [(1, 1)]),
        (called("Edit", failed=True, file_path="a", old_string="a", new_string="b"), []),
        (called("Read", file_path="a", content="not a write"), []),
        (called("Edit", file_path=7, old_string="a", new_string="b"), []),
    ],
)
def test_an_edit_is_a_change_of_a_file(call: Call, counts: list[tuple[int, int]]) -> None:
    assert [(each.added, each.removed) for each in edits(call)] == counts


@pytest.mark.parametrize(
    ("call", "open_"),
    [
        (called(output="no", failed=True), True),
        (called("Edit", file_path="a", old_string="a", new_string="b"), True),
        (called("Write", file_path="a", content="x\n" * 500), False),
        (called(output="fine"), False),
    ],
)
def test_failures_and_edits_are_open_and_the_rest_is_folded(call: Call, open_: bool) -> None:
    view = item_view(call)
    assert isinstance(view, CallView)
    assert (view.open, view.body is not None) == (open_, open_)


def test_a_call_that_runs_shows_what_it_was_given() -> None:
    view = item_view(Call("k", 1, "Bash", '{"command": "sleep 9\\nls"}'))
    assert isinstance(view, CallView) and view.runs and not view.open
    assert view.body is not None and view.body.given.text == "sleep 9\nls"


def test_of_a_long_output_the_end_stands_on_the_page_and_all_of_it_loads() -> None:
    long = called(output="x" * 9_000 + "\nthe error", failed=True)
    view = item_view(long)
    assert isinstance(view, CallView) and view.body is not None
    assert view.body.output.text.endswith("the error") and len(view.body.output.text) == TAIL
    assert call_body(long).output.left_out == 0


def test_words_are_paragraphs_and_only_code_is_marked() -> None:
    assert blocks("a `b` <i>c</i>\n\n```py\nx = 1\n```\n[l](javascript:x)")[0] == (
        Block((Run("a "), Run("b", code=True), Run(" <i>c</i>"))),
        Block((Run("x = 1"),), code=True),
        Block((Run("[l](javascript:x)"),)),
    )
    assert blocks("```\nno end") == ((Block((Run("no end"),), code=True),), 0)


def test_of_many_paragraphs_and_marks_the_first_are_shown_and_the_rest_is_counted() -> None:
    assert blocks("a\n\nbc\n\ndef", most=2) == ((Block((Run("a"),)), Block((Run("bc"),))), 3)
    assert blocks("`a``bc` d", runs=1) == ((Block((Run("a", code=True),)),), 4)


def test_a_part_of_a_page_is_bounded_whatever_an_agent_writes() -> None:
    turn = Turn("log1-1", 1)
    turn.items = [
        item
        for number in range(60)
        for item in (
            Say(f"s-{number}", 1, "word " * 40_000),
            Call(f"c-{number}", 1, "Bash" * 99, "x" * 60_000, "y" * 60_000, True, 2),
            Thought(f"t-{number}", 1, "z" * 60_000),
            Remark(f"r-{number}", 1, "w" * 60_000),
        )
    ]
    shown = part(turn, 0, len(turn.items)).items
    characters = 0
    for view in shown:
        if isinstance(view, SayView):
            characters += sum(len(run.text) for block in view.blocks for run in block.runs)
        elif isinstance(view, CallView) and view.body:
            characters += len(view.body.output.text) + len(view.body.given.text)
    assert characters < 2 * OPEN_CHARACTERS + 60 * 600
    assert all(len(view.argument) <= 240 and len(view.name) <= 60 for view in shown if isinstance(view, CallView))
    newest = [view for view in shown if isinstance(view, CallView) and view.name != "Thinks"][-1]
    assert newest.open


def test_a_message_is_cut_with_its_rest_behind_a_fold() -> None:
    shown = message(Turn("log1-1", 1, body="a" * 5_000, sender="b\nob"))
    assert (shown.sender, len(shown.body.text), shown.body.left_out) == ("b ob", 2_000, 3_000)


def test_only_the_last_turn_is_open_and_of_many_a_dozen_have_a_line() -> None:
    shown = scene([Turn(f"log1-{number}", number, number) for number in range(20)], 0)
    assert (shown.earlier, len(shown.lines), shown.number) == (20 - 1 - TURNS, TURNS, 19)
    assert scene([], 0).message is None


def test_a_message_of_hive_that_begins_a_turn_is_a_sentence_of_hive() -> None:
    body = '{"event":"question_answered","id":2,"question":"which?","answer":"red","answerer":"operator"}'
    shown = message(Turn("log1-1", 1, body=body, sender="system"))
    assert (shown.sender, shown.body.text) == ("hive", "operator answers question 2 (which?): red")
    assert message(Turn("log1-1", 1, body=body, sender="bob")).body.text == body
    forged = body.replace('"which?"', "5")
    assert message(Turn("log1-1", 1, body=forged, sender="system")).body.text == forged
