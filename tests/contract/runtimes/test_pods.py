"""The tools for sub-agents with real CLIs: they are there without any of hive's, and a call comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.relay.mcp import mcp_relay
from harness.runtimes.base import McpEndpoint
from meta.errors import Conflict
from meta.wire.pod import Permission, ScopeRule
from tests.contract.runtimes.acp_lab import WORLDS, AcpLab
from tests.contract.runtimes.claude_lab import CLAUDE, ClaudeLab
from tests.contract.runtimes.lab import Call, Record, Say, Shell, turn
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.harness.subagents.fake_agents import FakeAgents
from tests.support.fake_messages_api import FakeMessages
from tests.support.fake_openai_api import FakeOpenAI

SPAWN = {"name": "tests", "task": "run them", "scope": [{"target": "tests", "permission": "write"}]}
SPAWNED = ("spawn", "tests", "run them", (ScopeRule(target="tests", permission=Permission.WRITE),))


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents()


@pytest.fixture
async def endpoint(agents: FakeAgents, mcp: TinyMcp, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[McpEndpoint]:
    """What the labs give their CLI: the tools for sub-agents alone."""
    async with mcp_relay(None, pods=agents) as endpoint:
        monkeypatch.setattr(mcp, "endpoint", lambda: endpoint)
        yield endpoint


@pytest.mark.usefixtures("endpoint")
@pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude")
async def test_claude_spawns_a_pod_without_hives_tools_and_beside_a_list_of_what_is_allowed(
    tmp_path: Path, mcp: TinyMcp, agents: FakeAgents
) -> None:
    with FakeMessages() as api:
        lab = ClaudeLab(tmp_path, api, mcp)
        runtime = lab.make(settings={"permissions": {"allow": ["Read"]}})
        lab.script(Call("pods__spawn_pod", SPAWN), Shell("touch forbidden"), Say("done"))
        record = Record()
        outcome = await turn(runtime, "begin", record=record)
        agents.error = Conflict("there is a pod named tests", "stop it first")
        lab.script(Call("pods__spawn_pod", SPAWN), Say("done"))
        again = await turn(runtime, "again", outcome.session, record=record)
        await runtime.close()
        tools = {tool["name"] for tool in api.calls("main")[-1]["body"]["tools"]}
    assert (outcome.ok, again.ok) == (True, True)
    assert agents.calls == [SPAWNED, SPAWNED]
    assert {f"mcp__pods__{name}" for name in ("spawn_pod", "send_to_pod", "list_pods")} <= tools
    assert not any(name.startswith("mcp__hive") for name in tools)
    spawned, shell, refused = record.results()
    assert (spawned.output, spawned.is_error) == ("spawn is done", False)
    assert shell.is_error
    assert refused.is_error
    assert "there is a pod named tests (stop it first)" in refused.output


@pytest.mark.usefixtures("endpoint")
@pytest.mark.skipif(not WORLDS["codex"].path.exists(), reason="the agent codex is missing: make codex")
async def test_codex_spawns_a_pod_without_hives_tools(tmp_path: Path, mcp: TinyMcp, agents: FakeAgents) -> None:
    with FakeOpenAI() as api:
        lab = AcpLab("codex", tmp_path, api, mcp)
        runtime = lab.make()
        lab.script(Call("spawn_pod", SPAWN), Say("done"))
        record = Record()
        outcome = await turn(runtime, "begin", record=record)
        await runtime.close()
    assert outcome.ok
    assert agents.calls == [SPAWNED]
    assert ["spawn is done" in result.output for result in record.results()] == [True]
