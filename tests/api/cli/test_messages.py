"""What hive tells by itself, as the operator reads it."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from api.cli.render.status import waiting
from api.words.messages import SENTENCES, text
from meta.wire.codec import encode
from meta.wire.common import ApprovalStatus
from meta.wire.events import (
    ApprovalResolved,
    ContainerCrash,
    Destroyed,
    HelperEvent,
    Killed,
    LoggedIn,
    MessageDead,
    NeedsLogin,
    NeedsUpdate,
    QuestionAnswered,
    QuestionAsked,
    Rebuilt,
    Spawned,
)

TOLD: list[tuple[HelperEvent, str]] = [
    (
        ApprovalResolved(id=7, agent="bob", commit_ref="c", status=ApprovalStatus.APPROVED, sha="s", tag="deployed/7"),
        "proposal 7 of bob is approved (deployed/7)",
    ),
    (
        ApprovalResolved(id=7, agent="bob", commit_ref="c", status=ApprovalStatus.DENIED, note="no"),
        "proposal 7 of bob is denied: no",
    ),
    (Spawned(agent="bob", ok=True), "bob is spawned"),
    (Spawned(agent="bob", ok=False, note="no room"), "bob could not be spawned: no room"),
    (Rebuilt(agent="bob", ok=True), "bob is rebuilt"),
    (Rebuilt(agent="bob", ok=False, note="no nix"), "bob could not be rebuilt: no nix"),
    (Killed(agent="bob"), "bob is stopped on request"),
    (Destroyed(agent="bob"), "bob is destroyed"),
    (NeedsLogin(agent="bob"), "bob has no login; only a person can log in"),
    (LoggedIn(agent="bob"), "bob is logged in"),
    (
        MessageDead(id=4, to="bob", body="poison", attempts=3),
        "message 4 to bob was never handled (3 attempts): poison",
    ),
    (NeedsUpdate(agent="bob"), "bob was built with another hive, nixpkgs or agentModules"),
    (ContainerCrash(agent="bob", note="killed by signal 9"), "bob ended by itself: killed by signal 9"),
    (
        QuestionAnswered(id=3, question="which?\nSay.", answer="a\nb", answerer="bob"),
        "bob answers question 3 (which?): a\nb",
    ),
    (
        QuestionAnswered(id=3, question="which?", answer="[expired]", answerer="system"),
        "question 3 (which?) has no answer: [expired]",
    ),
    (
        QuestionAnswered(id=3, question="which?", answer="[cancelled by manager]", answerer="manager"),
        "question 3 (which?) has no answer: [cancelled by manager]",
    ),
    (QuestionAsked(id=3, asker="bob", question="which?", options=("a", "b")), "bob asks question 3: which? (a, b)"),
]


@pytest.mark.parametrize(("event", "sentence"), TOLD)
def test_a_helper_event_is_a_sentence(event: HelperEvent, sentence: str) -> None:
    assert text({"from": "system", "body": encode(event).decode()}) == sentence


def test_every_helper_event_has_a_sentence() -> None:
    kinds = {type(event) for event, _ in TOLD}
    assert kinds == set(get_args(get_args(HelperEvent)[0]))
    assert set(SENTENCES) == {event.event for event, _ in TOLD}


@pytest.mark.parametrize(
    "body", ["hello", "[]", "3", '{"event":"later"}', '{"event":"spawned"}', '{"event":["a"]}', "[" * 100_000]
)
def test_what_is_not_understood_stays_as_it_is(body: str) -> None:
    assert text({"from": "system", "body": body}) == body


def test_what_others_write_is_not_taken_for_hives_words() -> None:
    body = json.dumps({"event": "destroyed", "agent": "bob"})
    assert text({"from": "bob", "body": body}) == body


def test_what_waits_for_the_operator_is_one_line_or_none() -> None:
    assert waiting({"unread": 0, "questions": 0, "dead_letters": 0}) == []
    assert waiting({"unread": 2, "questions": 1, "dead_letters": 3}) == [
        "for you: 2 unread messages (`hive inbox`), 1 open question (`hive questions`), "
        "3 dead letters (`hive dead-letters`)"
    ]
