"""The steps of a deploy in words, from the card, the plan and the events."""

from __future__ import annotations

from dataclasses import replace

from api.ui.progress.facts import Facts
from api.ui.progress.steps import Step, how_far, steps_of
from meta.model import DeployKind
from meta.names import AgentName, ProposalId
from reconciler.views import AgentStatus, Card, Event, PlanRow

ALICE, SEVEN = AgentName("alice"), ProposalId(7)
CARD = Card(SEVEN, ALICE, DeployKind.APPLY_COMMIT, "1" * 40, "1" * 40, 100, "approved", "building", sha="1" * 40)
APPROVED = replace(CARD, approved_by="operator uid 1000")


def event(at: float, kind: str, **data: object) -> Event:
    return Event(f"u-{at}", at, kind, ALICE, data)


HISTORY = (
    event(100, "proposal_approved", id=7),
    event(101, "deploy_started", id=7),
    event(160, "agent_stopped", transient="switching"),
    event(162, "agent_started", deploy=7, generation="abcdef0123456789"),
)


def states(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.key: step.state or "done" for step in steps}


def row(step: str, reason: str = "", until: float | None = None, deploy: int = 7) -> PlanRow:
    return PlanRow(ALICE, "running", step, reason, ProposalId(deploy), until)


def drains(turn_since: float | None) -> AgentStatus:
    status = AgentStatus(ALICE, "agent", "draining", 150.0, "active", "running", None, None, None, None, (), 7, 0, 0)
    return replace(status, turn_since=turn_since)


def test_a_drain_says_for_whose_turn_it_waits_and_until_when() -> None:
    steps = steps_of(Facts(APPROVED, row("drain", "7 replaces what runs", 300.0), drains(90.0), HISTORY[:2]))
    drain = next(step for step in steps if step.key == "drain")
    assert (drain.state, drain.text, drain.turn_since, drain.until) == ("run", "Waits for alice's turn", 90.0, 300.0)
    assert how_far(steps) == "draining"
    assert next(step for step in steps if step.key == "build").seconds == 49.0


def test_the_words_of_the_gate_do_not_count_the_seconds() -> None:
    steps = steps_of(Facts(APPROVED, row("wait", "health, 41 s left: no harness connected", 200.0), None, HISTORY))
    gate = next(step for step in steps if step.key == "gate")
    assert (gate.state, gate.text, gate.until) == ("run", "Waits: no harness connected.", 200.0)
    assert states(steps) == {
        "approved": "done",
        "build": "done",
        "drain": "done",
        "switch": "done",
        "gate": "run",
        "commit": "todo",
    }


def test_an_approved_deploy_waits_behind_the_one_in_flight() -> None:
    waits = replace(APPROVED, state="approved")
    steps = steps_of(Facts(waits, row("build", "6 is not built", deploy=6)))
    assert steps[0].state == "run" and "waits for deploy 6" in steps[0].text
    assert {step.state for step in steps[1:]} == {"todo"}


def test_a_build_shows_the_end_of_its_log_and_the_error_that_is_retried() -> None:
    plan = replace(row("build", "7 is not built"), conditions=("the builder does not answer",))
    steps = steps_of(Facts(APPROVED, plan, None, HISTORY[:2], tuple(map(str, range(40)))))
    build = next(step for step in steps if step.key == "build")
    assert build.text == "7 is not built. The builder does not answer."
    assert build.log[-1] == "39"


def test_a_failure_in_the_gate_has_its_reason_its_log_and_what_runs_again() -> None:
    note = "no harness connected within 60 s\nline 1\nline 2"
    failed = replace(APPROVED, status="failed", state="failed", note=note, resolved_at=222)
    events = (
        *HISTORY,
        event(222, "deploy_failed", id=7),
        event(222.5, "rollback_started", id=7, reason="x"),
        event(230, "rollback_succeeded", **{"from": 7}),
    )
    steps = steps_of(Facts(failed, events=events))
    assert states(steps) == {
        "approved": "done",
        "build": "done",
        "drain": "done",
        "switch": "done",
        "gate": "bad",
        "back": "done",
    }
    gate, back = steps[-2:]
    assert (gate.text, gate.log, gate.seconds) == ("No harness connected within 60 s", ("line 1", "line 2"), 60.0)
    assert back.seconds == 7.5


def test_a_failed_build_leaves_out_what_never_came() -> None:
    failed = replace(APPROVED, status="failed", state="failed", note="it does not build", resolved_at=130)
    assert states(steps_of(Facts(failed, events=HISTORY[:2]))) == {"approved": "done", "build": "bad"}


def test_a_rollback_that_failed_too_is_the_last_row() -> None:
    failed = replace(APPROVED, status="failed", state="failed", note="no", resolved_at=222)
    lost = event(240, "rollback_failed", **{"from": 7, "reason": "exited with 3"})
    steps = steps_of(Facts(failed, events=(*HISTORY, event(222, "rollback_started", id=7), lost)))
    assert (steps[-1].key, steps[-1].state, steps[-1].text) == ("back", "bad", "exited with 3")


def test_the_events_of_another_deploy_of_the_agent_are_not_its_own() -> None:
    other = (event(50, "deploy_started", id=6), event(60, "agent_started", deploy=6, generation="f" * 20))
    steps = steps_of(Facts(APPROVED, row("build", "7 is not built"), None, other))
    assert next(step for step in steps if step.key == "build").at is None


def test_a_proposal_that_waits_has_no_steps() -> None:
    assert steps_of(Facts(replace(CARD, status="pending", state="proposal"))) == ()


def test_the_step_of_an_approval_names_the_touch_of_a_passkey_and_root_who_did_without() -> None:
    words = [
        steps_of(Facts(replace(APPROVED, consent=how), None))[0].text for how in ("passkey", "root without passkey")
    ]
    assert [each.partition(", ")[2] for each in words] == ["by the touch of a passkey", "without a passkey"]
