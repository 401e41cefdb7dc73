"""The real claude CLI uses hive's tools, driven by a scripted API whose own log says what the "model" was shown."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meta.names import MANAGER, AgentName
from tests.api.conftest import Hive
from tests.support.fake_messages import tool_results
from tests.support.fake_messages_api import FakeMessages
from tests.support.fake_service import ALICE
from tests.support.relay import relayed

CLAUDE = Path(__file__).parents[3] / "build" / "claude" / "claude_agent_sdk" / "_bundled" / "claude"
pytestmark = pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude")
MODEL = "claude-sonnet-4-5"
DEADLINE = 45.0


@pytest.fixture
def api() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


def environment(api: FakeMessages, home: Path) -> dict[str, str]:
    """Nothing goes anywhere but to the fake."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "ANTHROPIC_BASE_URL": api.url,
        "ANTHROPIC_API_KEY": "dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "IS_SANDBOX": "1",
    }


async def turn(pods: Hive, agent: AgentName, api: FakeMessages, home: Path, plan: list[dict[str, Any]]) -> list[Any]:
    """One turn of the agent's CLI with that plan; the lines that it printed."""
    home.mkdir(exist_ok=True)
    async with relayed(pods.layout.agent_http_socket(agent)) as port:
        server = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp", "alwaysLoad": True}
        process = await asyncio.create_subprocess_exec(
            *(str(CLAUDE), "-p", "--output-format", "stream-json", "--verbose", "--model", MODEL),
            *("--strict-mcp-config", "--mcp-config", json.dumps({"mcpServers": {"hive": server}})),
            *("--setting-sources", "", "--allowedTools", "mcp__hive", "--", f"@@plan {json.dumps(plan)}"),
            env=environment(api, home),
            cwd=home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        try:
            async with asyncio.timeout(DEADLINE):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]


def shown(api: FakeMessages) -> list[tuple[bool, list[str]]]:
    """What the fake's log says that the model was shown of each tool's result: whether an error, and its texts."""
    found = []
    for result in tool_results(api.calls("main")[-1]["body"]):
        content = result["content"]
        pieces = [content] if isinstance(content, str) else [block["text"] for block in content]
        told = [piece.rstrip() for piece in pieces if not piece.startswith("<system-reminder>")]  # the CLI adds some
        found.append((result.get("is_error") is True, told))
    return found


def offered(api: FakeMessages) -> dict[str, Any]:
    """hive's tools as the model was shown them, by name."""
    tools = api.calls("main")[0]["body"]["tools"]
    return {tool["name"]: tool for tool in tools if tool["name"].startswith("mcp__hive__")}


async def test_an_agents_turn_sends_and_receives(pods: Hive, api: FakeMessages, tmp_path: Path) -> None:
    await pods.fake.broker.send("manager", ALICE, "build it, please")
    lines = await turn(
        pods,
        ALICE,
        api,
        tmp_path / "home",
        [
            {"tool": "mcp__hive__recv", "input": {"wait_seconds": 5}},
            {"tool": "mcp__hive__send", "input": {"to": "manager", "body": "it is built"}},
            {"tools": [["mcp__hive__whoami", {}], ["mcp__hive__recv", {"wait_seconds": 0}]]},
            {"tool": "mcp__hive__send", "input": {"to": "nobody", "body": "x"}},
            {"tool": "mcp__hive__ask", "input": {"question": "Shall I go on?", "options": ["yes", "no"]}},
            {"tool": "mcp__hive__remind", "input": {"message": "look at the build", "seconds": 600}},
            {"tool": "mcp__hive__loose_ends", "input": {}},
            {"text": "all done"},
        ],
    )
    assert [server["status"] for server in lines[0]["mcp_servers"]] == ["connected"]
    assert (lines[-1]["type"], lines[-1]["is_error"], lines[-1]["result"]) == ("result", False, "all done")
    received, sent, who, empty, refused, asked, reminded, ends = shown(api)
    assert received == (False, ["from: manager\n\n    build it, please", "0 unread"])
    assert sent == (False, ["sent to manager", "0 unread"])
    assert who == (False, ["alice (agent), hive rev1", "0 unread"])
    assert empty == (False, ["no message", "0 unread"])
    assert refused[0]
    assert "nobody" in refused[1][0]
    assert [failed for failed, _ in (asked, reminded, ends)] == [False, False, False]
    assert "Shall I go on?" in ends[1][0]
    assert "look at the build" in ends[1][0]
    (question,) = await pods.fake.questions.open()
    assert (question.asker, question.question, question.options) == ("alice", "Shall I go on?", ("yes", "no"))
    delivery = await pods.fake.broker.recv(MANAGER, 0)
    assert delivery is not None
    assert (delivery.sender, delivery.body) == ("alice", "it is built")


async def test_the_model_is_shown_the_agents_tools_with_their_schemas(
    pods: Hive, api: FakeMessages, tmp_path: Path
) -> None:
    await turn(pods, ALICE, api, tmp_path / "alice", [{"text": "hello"}])
    of_alice = offered(api)
    assert "mcp__hive__kill" not in of_alice
    body = of_alice["mcp__hive__send"]["input_schema"]["properties"]["body"]
    assert body["description"] == "the text, at most 1 MiB of UTF-8"
    assert "You are alice, an agent of a hive" in json.dumps(api.calls("main")[0]["body"])


async def test_the_managers_turn_runs_the_others(pods: Hive, api: FakeMessages, tmp_path: Path) -> None:
    await turn(
        pods,
        MANAGER,
        api,
        tmp_path / "home",
        [
            {"tool": "mcp__hive__request_spawn", "input": {"name": "bob", "description": "writes the docs"}},
            {"tool": "mcp__hive__restart", "input": {"name": "alice"}},
            {"tool": "mcp__hive__get_logs", "input": {"agent": "alice", "lines": 3}},
            {"text": "ok"},
        ],
    )
    assert [error for error, _ in shown(api)] == [False, False, False]
    assert shown(api)[2][1][0].startswith("3 lines of alice")
    assert [done[:3] for done in pods.fake.calls] == [
        ("request_spawn", "bob", "manager"),
        ("restart", "alice", "manager"),
    ]
