"""The rules of agent.toml with real agents: what is not allowed, and what is denied, does not run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.runtimes.base import TurnOutcome
from meta.agent_toml.obeyed import obeyed
from tests.contract.runtimes.acp_lab import WORLDS, AcpLab
from tests.contract.runtimes.lab import Call, Say, Shell, turn
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.support.fake_openai_api import FakeOpenAI

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

READING = ["read_file", "read"]
"""The tools that read files, in the words of those that obey. They ask about none."""


@pytest.fixture(params=[name for name in WORLDS if obeyed(name).allow])
def lab(request: pytest.FixtureRequest, tmp_path: Path, mcp: TinyMcp) -> Iterator[AcpLab]:
    if not WORLDS[request.param].path.exists():
        pytest.skip(f"the agent {request.param} is missing: make {request.param}")
    with FakeOpenAI() as api:
        yield AcpLab(request.param, tmp_path, api, mcp)


async def do(lab: AcpLab, permissions: dict[str, list[str]]) -> TurnOutcome:
    """Let the model write a file in its shell, and send a message in a second turn."""
    runtime = lab.make(settings={"permissions": permissions})
    lab.script(Shell("touch made"), Say("done"))
    first = await turn(runtime, "make it")
    lab.drop()
    lab.script(Call("send", {"to": "bob", "body": "hi"}), Say("sent"))
    second = await turn(runtime, "write to bob", first.session)
    await runtime.close()
    return second


async def test_only_what_is_allowed_and_hives_tools_run(lab: AcpLab, mcp: TinyMcp) -> None:
    outcome = await do(lab, {"allow": READING})
    assert outcome.ok
    assert not (lab.work / "made").exists()
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]


async def test_what_is_allowed_runs(lab: AcpLab, mcp: TinyMcp) -> None:
    outcome = await do(lab, {"allow": [*READING, lab.world.shell]})
    assert outcome.ok
    assert (lab.work / "made").exists()
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]


async def test_what_is_denied_does_not_run(lab: AcpLab, mcp: TinyMcp) -> None:
    outcome = await do(lab, {"deny": [lab.world.shell, *READING]})
    assert outcome.ok
    assert not any(f'"{name}"' in lab.tools() for name in READING)
    assert not (lab.work / "made").exists()
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]


@pytest.mark.parametrize("words", [["execute"], ["run_*", "B*h"]])
async def test_a_kind_and_a_wildcard_deny_the_tools_that_they_stand_for(
    lab: AcpLab, mcp: TinyMcp, words: list[str]
) -> None:
    outcome = await do(lab, {"deny": words})
    assert outcome.ok
    assert not (lab.work / "made").exists()
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]


async def test_a_configuration_that_the_agent_wrote_does_not_undo_the_rules(lab: AcpLab, mcp: TinyMcp) -> None:
    own = {"permission": {"bash": "allow", "*": "allow"}}
    config = {**own, "default_agent": "mine", "agent": {"build": own, "mine": {**own, "mode": "primary"}}}
    (lab.work / "opencode.json").write_text(json.dumps(config))
    for folder in (lab.work / ".gemini", lab.home / ".gemini"):
        (folder / "policies").mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps({"tools": {"allowed": ["run_shell_command"]}}))
        rule = '[[rule]]\ntoolName = "run_shell_command"\ndecision = "allow"\npriority = 999\n'
        (folder / "policies" / "own.toml").write_text(rule)
    outcome = await do(lab, {"deny": ["execute"]})
    assert outcome.ok
    assert not (lab.work / "made").exists()
    assert mcp.calls == [("send", {"to": "bob", "body": "hi"})]
