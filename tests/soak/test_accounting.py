"""The accounting of the soak notices what it is there for, and nothing else."""

from __future__ import annotations

import pytest

from tests.soak.accounting import (
    Acked,
    Decision,
    Requeued,
    Sample,
    Sent,
    Step,
    Taken,
    decision_faults,
    growth_faults,
    message_faults,
    objections,
    reply_faults,
)

A, B = "alice", "bob"


def sent(*accepted: bool | None) -> list[Sent]:
    return [Sent(A, B, number, each) for number, each in enumerate(accepted)]


def faults(messages: list[Sent], *steps: Step) -> list[str]:
    return [each.partition(":")[0] for each in message_faults(B, messages, steps)]


def got(*numbers: int, redelivered: bool = False) -> list[Step]:
    return [Taken(A, number, redelivered) for number in numbers]


def test_messages_that_all_came_in_order_are_no_fault() -> None:
    assert faults(sent(True, True, True), *got(0), Acked(), *got(1, 2), Acked()) == []


def test_a_lost_message_is_noticed() -> None:
    assert faults(sent(True, True), *got(0), Acked()) == ["lost"]
    assert faults(sent(True)) == ["lost"]


def test_a_message_that_is_requeued_and_does_not_come_again_is_lost() -> None:
    assert faults(sent(True), *got(0), Requeued()) == ["lost"]


def test_a_message_that_comes_again_after_its_ack_is_doubled() -> None:
    assert faults(sent(True), *got(0), Acked(), *got(0, redelivered=True), Acked()) == ["doubled"]


def test_a_message_that_comes_twice_in_one_turn_is_doubled() -> None:
    assert faults(sent(True), *got(0, 0), Acked())[0] == "doubled"


def test_a_message_that_comes_again_unmarked_is_doubled() -> None:
    assert faults(sent(True), *got(0), Requeued(), *got(0), Acked()) == ["doubled"]


def test_a_reordered_message_is_noticed() -> None:
    assert faults(sent(True, True), *got(1, 0), Acked())[0] == "reordered"
    assert "reordered" in faults(sent(True, True), *got(1), Acked(), *got(0), Acked())
    assert faults(sent(None, None), *got(1, 0), Acked()) == ["reordered"]


def test_what_was_not_acked_comes_again_in_its_place() -> None:
    steps = [*got(0, 1), Requeued(), *got(0, 1, redelivered=True), Acked(), *got(2), Acked()]
    assert faults(sent(True, True, True), *steps) == []


def test_a_message_that_passes_one_that_was_requeued_is_reordered() -> None:
    steps = [*got(0, 1), Requeued(), *got(1, redelivered=True), *got(0, redelivered=True), Acked()]
    assert "reordered" in faults(sent(True, True), *steps)


@pytest.mark.parametrize("again", [True, False])
def test_an_ack_whose_answer_was_lost_counts_or_not(again: bool) -> None:
    steps = [*got(0), Acked(sure=False), Requeued(), *(got(0, redelivered=True) if again else []), Acked()]
    assert faults(sent(True), *steps) == []


@pytest.mark.parametrize("came", [True, False])
def test_a_send_whose_answer_was_lost_arrives_or_not(came: bool) -> None:
    assert faults(sent(None, True), *got(*([0, 1] if came else [1])), Acked()) == []


def test_what_was_refused_or_never_sent_and_comes_is_invented() -> None:
    assert faults(sent(False), *got(0), Acked()) == ["invented"]
    assert faults([], *got(7), Acked()) == ["invented"]


def test_senders_do_not_mix() -> None:
    messages = [Sent(A, B, 0, True), Sent("carol", B, 0, True), Sent(A, "carol", 1, True)]
    assert faults(messages, Taken("carol", 0), *got(0), Acked()) == []


def test_an_agent_that_died_in_mid_turn_may_answer_twice_but_leaves_nothing_out() -> None:
    replies = [Sent(B, A, number, True) for number in (0, 0, 1, 1, 2)]
    assert reply_faults(B, sent(True, True, True), replies) == []
    assert [each.partition(":")[0] for each in reply_faults(B, sent(True, True, True, True), replies)] == ["lost"]
    assert reply_faults(B, sent(True, True, True, True), replies, excused=1) == []
    assert [each.partition(":")[0] for each in reply_faults(B, sent(True, True), replies)] == ["invented"]
    assert [each.partition(":")[0] for each in reply_faults(B, sent(True, True, True), [replies[2], *replies])] == [
        "reordered"
    ]


def test_what_was_decided_must_have_become_so_unless_its_answer_was_lost() -> None:
    decisions = [Decision(1, True, True), Decision(2, False, True), Decision(3, True, False), Decision(4, False, False)]
    assert decision_faults(decisions, {1: "deployed", 2: "denied", 3: "proposal", 4: "denied"}) == []
    assert len(decision_faults(decisions, {1: "approved", 2: "deployed", 3: "denied", 4: "deployed"})) == 4
    assert len(decision_faults(decisions, {})) == 4


def test_growth_is_that_of_the_last_daemon() -> None:
    earlier = [Sample(1, 10**6, 500)] * 8
    flat = [Sample(2, 100_000, 50 + number % 3) for number in range(40)]
    assert growth_faults([*earlier, *flat]) == []
    grown = [Sample(2, 100_000 + 4_000 * number, 50 + 2 * number) for number in range(40)]
    assert len(growth_faults([*earlier, *grown])) == 2


def test_too_few_samples_prove_nothing() -> None:
    assert len(growth_faults([])) == len(growth_faults([Sample(1, 1, 1)] * 5)) == 1


def test_a_note_of_the_audit_is_no_fault_but_a_warning_is() -> None:
    findings = [{"level": level, "rule": "not-kept"} for level in ("note", "warning", "fault")]
    assert [finding["level"] for finding in objections(findings)] == ["warning", "fault"]
