"""What takes a new agent's turns: chosen at its spawn, or by the settings; and shown before the approval."""

from __future__ import annotations

import pytest

from meta.agent_toml.settings import parse_settings
from meta.names import AgentName
from tests.support.lab import Lab

pytestmark = [
    pytest.mark.lab(backend="fake", settings={"HIVE_DEFAULT_RUNTIME": "codex", "HIVE_MANAGER_RUNTIME": "claude"})
]


def begun(lab: Lab, agent: str, tag: str) -> tuple[str, str | None]:
    text = lab.git(lab.layout.applied_git(AgentName(agent)), "show", f"{tag}:agent.toml")
    settings = parse_settings(text.encode())
    return settings.runtime, settings.model


def test_a_spawn_names_the_runtime_and_the_model_and_the_settings_have_the_default(lab: Lab) -> None:
    said = lab.hive("spawn", "alice", "--runtime", "claude", "--model", "opus")
    assert said.code == 0, said.err
    assert begun(lab, "alice", "proposal/0") == ("claude", "opus")
    assert lab.hive("spawn", "bob").code == 0
    assert begun(lab, "bob", "proposal/0") == ("codex", None)
    assert begun(lab, "manager", "proposal/0") == ("claude", None)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--runtime", "cladue"), "'cladue' is not a runtime, did you mean 'claude'?"),
        (("--runtime", "acp"), "runtime 'acp' has no CLI of its own"),
        (("--runtime", "script", "--model", "opus"), "runtime 'script' has no model"),
        (("--model", "opus"), "a model is given without a runtime"),
        (("--runtime", "claude", "--model", "a b"), "model: 'a b' is not the name of a model"),
    ],
)
def test_a_spawn_that_would_not_work_is_refused_and_leaves_nothing(
    lab: Lab, words: tuple[str, ...], error: str
) -> None:
    said = lab.hive("spawn", "eve", *words)
    assert said.code == 2
    assert error in said.err
    assert "\n  try: " in said.err
    assert not lab.layout.applied_git(AgentName("eve")).exists()


def test_the_card_of_a_spawn_shows_the_runtime_before_the_approval(lab: Lab) -> None:
    said = lab.hive("request-spawn", "carol", "-m", "a reviewer")
    assert "asks for the new agent carol with runtime codex" in said.out
    (card,) = [card for card in lab.get("/api/proposals") if card["agent"] == "carol"]
    assert card["runtime"] == "codex"
    assert "runtime codex: a reviewer" in lab.hive("pending").out
    shown = 'agent.toml:\n  runtime: "codex"\n  it may reach:\n    + runtime codex: api.openai.com (port 443), '
    assert shown in lab.hive("diff", str(card["id"])).out
    assert lab.hive("deny", str(card["id"])).code == 0
    assert lab.card(card["id"])["runtime"] is None


def test_a_kept_repo_of_another_runtime_is_not_taken_in_silence(lab: Lab) -> None:
    assert lab.hive("spawn", "dora", "--runtime", "claude").code == 0
    lab.settle("dora")
    assert lab.hive("destroy", "dora", "--yes").code == 0
    lab.settle()
    said = lab.hive("spawn", "dora", "--runtime", "gemini")
    assert (said.code, "an earlier dora left its repo" in said.err) == (4, True), said
    assert lab.hive("spawn", "dora", "--runtime", "claude").code == 0
