"""The real claude CLI in an agent's sandbox reaches the model and hive's tools, through the harness's relays alone."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from meta.names import AgentName
from meta.process import sandbox
from tests.api.mcp.test_claude_cli import CLAUDE, MODEL, shown
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab
from tests.support.unix_front import in_front

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude"),
    pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed"),
    pytest.mark.lab(agents=("alice",), settings={"HIVE_AGENT_PROGRAMS": str(CLAUDE)}),
]
ALICE = AgentName("alice")
TURN = f"""
import asyncio, json, os, sys
from harness.enclosure import enclosed
from harness.environment import read_environment
from meta.agent_toml.settings import AgentSettings

async def main():
    settings = AgentSettings.model_validate({{"runtime": "claude"}})
    async with enclosed(read_environment(os.environ), settings, os.environ) as (around, _):
        headers = {{"Authorization": f"Bearer {{around.mcp.token}}"}}
        hive = {{"type": "http", "url": around.mcp.url, "headers": headers, "alwaysLoad": True}}
        servers = around.files / "mcp.json"
        servers.write_text(json.dumps({{"mcpServers": {{"hive": hive}}}}))
        env = {{**around.env, "ANTHROPIC_BASE_URL": around.reach().root, "ANTHROPIC_API_KEY": "dummy"}}
        env |= {{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}}
        words = ["claude", "-p", "--output-format", "stream-json", "--verbose", "--model", "{MODEL}"]
        words += ["--strict-mcp-config", "--mcp-config", str(servers), "--setting-sources", ""]
        words += ["--allowedTools", "mcp__hive,Bash", "--", sys.argv[1]]
        cli = await asyncio.create_subprocess_exec(
            *words, env=env, cwd=around.work, stdin=asyncio.subprocess.DEVNULL
        )
        return await cli.wait()

sys.exit(asyncio.run(main()))
"""


@pytest.fixture
def api() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


def turn(lab: Lab, prompt: str) -> list[dict[str, Any]]:
    """One turn of a CLI that is started in alice's container; the lines that it printed."""
    where = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
    hive = [sys.executable, "-m", "api.cli.main", "shell", *where, "alice"]
    program = [sys.executable, "-P", "-c", textwrap.dedent(TURN), prompt]
    done = subprocess.run([*hive, "--", *program], capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    return lines


@pytest.mark.full  # the whole way is tried by real/test_talk in every run
def test_a_turn_reaches_the_model_and_the_tools_of_hive(lab: Lab, api: FakeMessages) -> None:
    assert lab.get("/api/status")["programs"].startswith("claude")
    plan = [
        {"tool": "mcp__hive__send", "input": {"to": "manager", "body": "it is built"}},
        {"tool": "mcp__hive__whoami", "input": {}},
        {
            "tool": "Bash",
            "input": {"command": "command -v claude; env | grep -i -c '^https*_proxy'; git init -q . && pwd"},
        },
        {"text": "all done"},
    ]
    with in_front(lab.layout.egress(ALICE) / "egress.sock", api.url):
        lines = turn(lab, f"@@plan {json.dumps(plan)}")
    assert [server["status"] for server in lines[0]["mcp_servers"]] == ["connected"]
    assert (lines[-1]["is_error"], lines[-1]["result"]) == (False, "all done")
    sent, who, shell = shown(api)
    assert sent[0] is False
    assert who[1][0].startswith("alice (agent)")
    assert shell[0] is False
    assert shell[1][0].startswith("/programs/bin/claude\n4\n/state/work\n")
    assert "it is built" in lab.inbox("manager")


@pytest.mark.full  # the whole way is tried by real/test_talk in every run
def test_without_a_way_out_the_turn_ends_at_once_and_says_what_is_missing(lab: Lab) -> None:
    *_, last = turn(lab, "hello")
    assert (last["type"], last["is_error"], last["api_error_status"]) == ("result", True, 503)
    assert "no way out of this container: /run/egress/egress.sock does not answer" in last["result"]
    assert last["duration_ms"] < 15_000


@pytest.mark.full  # the second turn of this page is enough for every run
def test_a_turn_goes_on_over_a_restart_of_the_daemon(lab: Lab, api: FakeMessages) -> None:
    state = lab.layout.agent_state(ALICE)
    wait = "touch /state/waiting; while ! [ -e /state/go ]; do sleep 0.05; done"
    plan = [
        {"tool": "mcp__hive__whoami", "input": {}},
        {"tool": "Bash", "input": {"command": wait}},
        {"tool": "mcp__hive__send", "input": {"to": "manager", "body": "after the restart"}},
        {"text": "all done"},
    ]

    def restart() -> None:
        lab.until((state / "waiting").exists)
        lab.kill()
        (state / "go").touch()
        lab.start()

    with in_front(lab.layout.egress(ALICE) / "egress.sock", api.url), ThreadPoolExecutor(1) as pool:
        restarting = pool.submit(restart)
        lines = turn(lab, f"@@plan {json.dumps(plan)}")
        restarting.result()
    assert (lines[-1]["is_error"], lines[-1]["result"]) == (False, "all done")
    assert [failed for failed, _ in shown(api)] == [False, False, False]
    assert "after the restart" in lab.inbox("manager")
