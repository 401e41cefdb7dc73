"""What `hive doctor` says about the agents that the host's configuration declares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from meta.config import Config
from reconciler.upkeep.doctor.checks.base import AgentRow, Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import WELL, look, only

NOTE = "background task declared failed (/etc/hive/agents.json does not exist); it tries again, and agents run on"
ABOUT = "the host's configuration and git both changed it"


def says(subject: Subject, *agents: AgentRow, notes: tuple[str, ...] = ()) -> None:
    """The daemon answers so."""
    subject.held = True
    subject.daemon = replace(WELL, state=str(subject.layout.state), agents=agents, notes=notes)


async def test_a_list_that_the_daemon_cannot_read_fails_here_and_only_here(bare: Subject) -> None:
    says(bare, notes=(NOTE,))
    row = await only(bare, "declared", Verdict.FAIL, "/etc/hive/agents.json does not exist")
    assert "nixos-rebuild switch" in row.remedy
    await only(bare, "status", Verdict.OK, "nothing")


@pytest.mark.parametrize(
    ("standing", "verdict", "remedy"),
    [
        ("conflict", Verdict.WARN, "hive pending alice"),
        ("denied", Verdict.WARN, "change what is declared"),
        ("failed", Verdict.WARN, "hive history alice"),
        ("removed", Verdict.WARN, "hive destroy alice"),
        ("broken", Verdict.FAIL, "services.hive.agents"),
    ],
)
async def test_what_waits_for_a_person_is_named_once_with_what_to_do(
    bare: Subject, standing: str, verdict: Verdict, remedy: str
) -> None:
    says(bare, AgentRow("alice", "running", (ABOUT,), standing), AgentRow("bob", "running", (), "agrees"))
    row = await only(bare, "declared", verdict, f"alice: {ABOUT}")
    assert remedy in row.remedy
    await only(bare, "agents", Verdict.OK, "none of 2")


async def test_the_remedy_is_that_of_the_error(bare: Subject, tmp_path: Path) -> None:
    hint = "make it root's, with the mode 0644"
    says(bare, notes=(NOTE.replace("does not exist", f"is not used: others could have written it ({hint})"),))
    assert (await only(bare, "declared", Verdict.FAIL, "is not used")).remedy == hint
    says(bare, AgentRow("alice", "running", (f"{ABOUT}: /m has the mode 0666 ({hint})",), "broken"))
    assert (await only(bare, "declared", Verdict.FAIL, "alice")).remedy == hint


async def test_an_agent_that_git_does_not_have_yet_is_named_by_its_note(bare: Subject) -> None:
    says(bare, notes=("the host's configuration, agent bob: declares what cannot be used: x",))
    await only(bare, "declared", Verdict.FAIL, "agent bob: declares what cannot be used")
    await only(bare, "status", Verdict.OK, "nothing")


async def test_an_agent_whose_declaration_is_not_followed_fails(bare: Subject) -> None:
    says(bare, AgentRow("alice", "running", ("the host's configuration is not followed for now: x",), "agrees"))
    await only(bare, "declared", Verdict.FAIL, "alice: the host's configuration is not followed for now: x")


@pytest.mark.parametrize("standing", ["agrees", "git moved", "deploying", "", "a word of a newer hive"])
async def test_where_nobody_is_asked_all_is_well(bare: Subject, standing: str) -> None:
    says(bare, AgentRow("alice", "running", ("the host's configuration declares something else",), standing))
    await only(bare, "declared", Verdict.OK, "none waits")


async def test_without_a_daemon_the_list_itself_is_read(bare: Subject, tmp_path: Path) -> None:
    path = tmp_path / "agents.json"
    bare.config = Config.model_validate({"declared": str(path)})
    await only(bare, "declared", Verdict.FAIL, "does not exist")
    agents = {"alice": {}, "bob": {}, "carol": {"settings": "lable = 1\n"}}
    path.write_text(json.dumps({"version": 1, "agents": agents}), encoding="utf-8")
    path.chmod(0o644)
    rows = await look(bare, "declared")
    assert [(row.verdict, row.text.partition(":")[0]) for row in rows] == [
        (Verdict.FAIL, "carol"),
        (Verdict.WARN, "bob, carol"),
    ]
    assert "did you mean 'label'" in rows[0].text
    bare.config = Config()
    await only(bare, "declared", Verdict.OK, "no list is configured")
