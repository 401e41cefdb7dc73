"""The rows of the list and the decisions above it, as values."""

from __future__ import annotations

import pytest

from api.ui.pages.needs_you.decided import MOST, SECONDS, decision_of, decisions
from api.ui.pages.needs_you.rows import items, named
from api.ui.pieces import Piece, prose
from meta.names import AgentName
from reconciler.attention.registry import KINDS
from reconciler.attention.row import Row, Severity
from reconciler.messaging.questions import Question
from reconciler.views import Event

ALICE = AgentName("alice")
NOW = 1_700_000_000.0


def _row(key: str, kind: str, severity: Severity = Severity.NORMAL, detail: str = "why") -> Row:
    return Row(key, kind, severity, ALICE, NOW, f"{kind} of alice waits", detail, "hive x")


def _event(kind: str, at: float = NOW - 5, /, **data: object) -> Event:
    return Event("uuid-12", at, kind, "bob", data)


def _ended(id: int, answer: str, by: str) -> Question:
    return Question(id, "bob", "operator", "which?", (), False, 1, None, 2, answer, by)


def _text(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


def test_the_first_two_decisions_stand_open_and_the_one_that_is_asked_for() -> None:
    rows = [
        _row("deploy-failed:alice:1", "deploy-failed", Severity.HIGH),
        *(_row(f"proposal:alice:{id}", "proposal") for id in (2, 3, 4)),
        _row("dead-letter:9", "dead-letter"),
    ]
    shown = items(rows, asked="dead-letter:9")
    assert [item.open for item in shown] == [False, True, True, False, True]
    assert [item.css for item in shown] == ["bad", "warn", "warn", "warn", "warn"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_of_row_has_a_word_and_an_urgency(kind: object) -> None:
    name, severity = kind.name, kind.severity  # type: ignore[attr-defined]
    (item,) = items([_row(f"{name}:x", name, severity)])
    assert item.label
    assert item.urgency in ("Urgent", "Waiting", "Later")


@pytest.mark.parametrize(
    ("kind", "title", "detail", "said"),
    [
        ("network-request", "alice asks for a host (request 1), which waits for your decision",
         "docs.rs:443, it says: “to read”; `hive network allow alice 1`", "alice asks for docs.rs:443"),
        ("deploy-failed", "deploy 8 of alice failed", "no hello; in time its last lines: 1 2; `hive retry 8`",
         "Deploy 8 of alice failed: no hello; in time"),
        ("dead-letter", "message 26 to alice was given up", "from bob; `hive dead-letters --revive 26`",
         "Message 26 from bob to alice was given up"),
        ("dead-letter", "message 26 to alice was given up", "", "Message 26 to alice was given up"),
    ],
)  # fmt: skip
def test_a_row_says_the_thing_itself(kind: str, title: str, detail: str, said: str) -> None:
    (item,) = items([Row(f"{kind}:1", kind, Severity.NORMAL, ALICE, NOW, title, detail, "hive x")])
    assert _text(item.title) == said


def test_a_name_is_set_apart_only_where_it_stands_as_a_word() -> None:
    assert list(named("deploy 4 of al failed", AgentName("al"))) == [
        Piece("deploy 4 of "), Piece("al", "b"), Piece(" failed"),
    ]  # fmt: skip
    assert list(named("also failed", AgentName("al"))) == [Piece("also failed")]


def test_commands_are_set_apart() -> None:
    assert prose("run `hive x`; then wait") == (Piece("run "), Piece("hive x", "code"), Piece("; then wait"))


def test_a_decision_is_shown_for_some_minutes_with_by_whom() -> None:
    denied = _event("proposal_denied", id=6, by="operator anna", note="not tonight")
    (shown,) = decisions([denied], (), NOW)
    assert _text(shown.words) == "operator anna denied proposal 6 of bob: not tonight"
    assert decisions([denied], (), NOW + SECONDS) == ()


def test_what_took_a_row_away_is_found_by_its_key() -> None:
    events = [
        _event("proposal_denied", id=6, by="anna"),
        _event("proposal_approved", id=7, approved_by="anna"),
        _event("deploy_succeeded", id=7),
        _event("question_answered", id=6, by="ben"),
    ]
    keys = (
        "proposal:bob:6",
        "stale-proposal:bob:7",
        "question:6",
        "proposal:al:6",
        "proposal:bob:66",
        "agent-down:bob",
    )
    found = [decision_of(key, events, [_ended(6, "red", "ben")]) for key in keys]
    assert [each and _text(each.words) for each in found] == [
        "anna denied proposal 6 of bob",
        "anna approved proposal 7 of bob",
        "ben answered question 6 of bob",
        None,
        None,
        None,
    ]


def test_a_spawn_is_named_without_its_number() -> None:
    (shown,) = decisions([_event("proposal_approved", id=0, kind="spawn", approved_by="anna")], (), NOW)
    assert _text(shown.words) == "anna approved the spawn of bob"


def test_the_newest_decisions_are_first_and_few() -> None:
    events = [_event("proposal_approved", NOW - 100 + id, id=id, approved_by="anna") for id in range(MOST + 3)]
    shown = decisions(events, (), NOW)
    assert len(shown) == MOST
    assert _text(shown[0].words) == f"anna approved proposal {MOST + 2} of bob"


@pytest.mark.parametrize(
    ("answer", "by", "words"),
    [
        ("red", "ben", "ben answered question 3 of bob"),
        ("[cancelled by ben]", "ben", "ben cancelled question 3 of bob"),
        ("[expired]", "system", "Question 3 of bob expired"),
        ("[cancelled by system]", "system", "Question 3 of bob was cancelled"),
    ],
)
def test_a_decision_about_a_question_says_how_it_ended(answer: str, by: str, words: str) -> None:
    ended = [_ended(4, "[expired]", "system"), _ended(3, answer, by)]
    (shown,) = decisions([_event("question_answered", id=3, by=by)], ended, NOW)
    assert _text(shown.words) == words


@pytest.mark.parametrize(
    ("by", "words"), [("ben", "ben ended question 3 of bob"), ("system", "Question 3 of bob ended")]
)
def test_of_a_question_that_is_not_kept_any_more_a_decision_says_only_that_it_ended(by: str, words: str) -> None:
    (shown,) = decisions([_event("question_answered", id=3, by=by)], (), NOW)
    assert _text(shown.words) == words
