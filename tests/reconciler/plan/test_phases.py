"""Every phase: those that need an operator give the reason and the command, in the plan, in status and in the list."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from api.cli.commands.status import show_plan
from api.cli.render.status import conditions
from meta.model import RunEntry, RunState
from meta.names import ProposalId
from meta.wire.link import About, TurnState
from reconciler.plan import steps
from reconciler.plan.context import Decision
from reconciler.plan.observed import AgentObserved, DiskUse, Exit, LinkView, Transient
from reconciler.plan.phases import GIVEN_UP, PHASES, REMEDIES, WANTED
from reconciler.queries.plan import plan_row
from tests.support.plan_model import ALICE, CONFIG, NOW, Model, fresh_spawn, running


def changed(**changes: object) -> Decision:
    model = running()
    model.set(**changes)
    return model.decide()


def starting() -> Decision:
    model = fresh_spawn()
    while "start" not in model.done:
        model.do(model.decide().step)
    return model.decide()


def stopping(*, settled: bool) -> Decision:
    model = running()
    model.run = RunEntry(RunState.STOPPED)
    return model.settle() if settled else model.decide()


def in_turn(turn: TurnState) -> Decision:
    return changed(link=replace(running().seen.link, turn=turn))


def down(**memo: object) -> Decision:
    model = running()
    launch = model.seen.container.launch
    assert launch is not None
    model.container(pid=None, exit=Exit(launch.nonce, NOW, code=1))
    model.set(link=LinkView())
    model.memo(last_crash=NOW, **memo)
    return model.decide()


def paused(turn: TurnState) -> Decision:
    model = running()
    model.run = RunEntry(paused=True)
    model.set(link=replace(model.seen.link, turn=turn))
    return model.decide()


def gone(model: Model) -> Decision:
    model.entry = None
    model.container(pid=None)
    return model.decide()


EXAMPLES: dict[str, Callable[[], Decision]] = {
    "starting": starting,
    "running": lambda: changed(),
    "draining": lambda: stopping(settled=False),
    "switching": lambda: down(transient=Transient.SWITCHING, expected_exit="n1"),
    "stopped": lambda: stopping(settled=True),
    "crashed": down,
    "backing-off": lambda: down(crashes=1, counted_exit="n1", start_after=NOW + 5),
    "needs-login": lambda: in_turn(TurnState.NEEDS_LOGIN),
    "parked": lambda: in_turn(TurnState.PARKED),
    "over-budget": lambda: in_turn(TurnState.OVER_BUDGET),
    "paused": lambda: paused(TurnState.IDLE),
    "failed": lambda: down(crashes=CONFIG.crash_limit, counted_exit="n1"),
    "rollback-failed": lambda: down(rollback_failed=True),
    "disagrees": lambda: changed(foreign=frozenset({ProposalId(9)})),
    "damaged": lambda: changed(damage="exit.json is empty", remedy="remove it"),
    "over-disk": lambda: gone_over_disk(),
    "destroying": lambda: gone(running()),
    "unknown": lambda: changed(link=LinkView()),
    "absent": lambda: Model(None, {}, AgentObserved()).decide(),
}


def gone_over_disk() -> Decision:
    model = running()
    model.container(pid=None)
    model.set(disk=DiskUse(11, 10))
    return model.decide()


def test_an_agent_is_paused_by_the_operator_s_will_once_its_turn_ended_and_never_by_its_own_word() -> None:
    assert paused(TurnState.THINKING).phase == "running"
    assert paused(TurnState.NEEDS_LOGIN).phase == "paused"
    assert in_turn(TurnState.PAUSED).phase == "running"


@pytest.mark.parametrize(
    ("runtime", "command"),
    [
        ("claude", "`hive login alice`"),
        ("codex", "`hive login alice`"),
        ("gemini", "~/.gemini/.env"),
        ("opencode", "~/.local/share/opencode/auth.json"),
        ("acp", "`hive shell alice`"),
    ],
)
def test_the_remedy_of_a_missing_login_is_one_that_the_runtime_has(runtime: str, command: str) -> None:
    link = replace(running().seen.link, turn=TurnState.NEEDS_LOGIN, about=About(runtime=runtime))
    decision = changed(link=link)
    assert command in decision.remedy
    assert any(command in condition for condition in decision.conditions)
    assert ("hive login" in decision.remedy) == (runtime in ("claude", "codex"))


def test_every_phase_has_an_example() -> None:
    assert EXAMPLES.keys() == PHASES.keys()
    assert REMEDIES.keys() >= GIVEN_UP


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_that_needs_an_operator_says_why_and_what_to_do(phase: str, capsys: pytest.CaptureFixture[str]) -> None:
    decision = EXAMPLES[phase]()
    assert decision.phase == phase
    row = json.loads(json.dumps(asdict(plan_row(ALICE, decision))))
    assert row["reason"]
    show_plan([row], json=False)
    plan = " ".join(capsys.readouterr().out.split())
    if phase not in REMEDIES:
        assert row["remedy"] == ""
        return
    assert "`hive " in row["remedy"]
    assert "`hive " in plan
    assert phase in PHASES
    if phase in WANTED:
        assert row["conditions"] == []
        assert row["remedy"] in plan
        return
    (*_, line) = conditions({"agents": [row]})
    assert line in plan
    assert "`hive " in line
    if phase in GIVEN_UP:
        assert "1 that waits for you: alice" in plan
        assert "0 agents as desired" in plan


def test_an_agent_that_failed_is_never_as_desired_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan([asdict(plan_row(ALICE, EXAMPLES["failed"]()))], json=False)
    assert " ".join(capsys.readouterr().out.split()) == (
        "nothing to do: 0 agents as desired, 1 that waits for you: alice "
        "alice: failed: ended by itself 3 times in a row; `hive restart alice` tries again"
    )


def test_a_container_of_another_with_this_name_is_said_with_a_remedy() -> None:
    model = running()
    model.container(ours=False)
    decision = model.decide()
    assert decision.step == steps.Nothing()
    assert "`hive reconcile alice`" in decision.conditions[0]
