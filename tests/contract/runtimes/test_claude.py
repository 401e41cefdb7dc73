"""What only claude has: its permissions, its own tools, further MCP servers, and its system prompt."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.prompts.permissions import claude_settings
from harness.runtimes.base import Ending
from meta.agent_toml.settings import AgentSettings
from meta.errors import TransientError
from meta.wire.live import Notice, TextDelta
from tests.contract.runtimes.claude_lab import CLAUDE, ClaudeLab
from tests.contract.runtimes.lab import Call, Failure, Record, Say, Shell, turn
from tests.contract.runtimes.mcp_server import TOKEN, TinyMcp
from tests.support.fake_messages_api import FakeMessages

pytestmark = pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude")

STDIO_SERVER = """
import json, sys
for line in sys.stdin:
    ask = json.loads(line)
    if ask.get("method") == "initialize":
        version = ask["params"]["protocolVersion"]
        info = {"name": "own", "version": "1"}
        answer = {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}}
    elif ask.get("method") == "tools/list":
        schema = {"type": "object", "properties": {}}
        answer = {"result": {"tools": [{"name": "look", "description": "Look.", "inputSchema": schema}]}}
    elif ask.get("method") == "tools/call":
        answer = {"result": {"content": [{"type": "text", "text": "looked"}]}}
    else:
        answer = {"error": {"code": -32601, "message": "no"}}
    if "id" in ask:
        print(json.dumps({"jsonrpc": "2.0", "id": ask["id"], **answer}), flush=True)
"""


@pytest.fixture
def api() -> Iterator[FakeMessages]:
    with FakeMessages() as fake:
        yield fake


@pytest.fixture
def lab(tmp_path: Path, api: FakeMessages, mcp: TinyMcp) -> ClaudeLab:
    return ClaudeLab(tmp_path, api, mcp)


async def test_the_text_comes_in_pieces_and_the_model_sees_hives_tools_and_prompt_but_no_tool_that_is_off(
    lab: ClaudeLab, api: FakeMessages
) -> None:
    runtime = lab.make()
    lab.script(Say("hello"))
    record = Record()
    assert (await turn(runtime, "hello", record=record)).ok
    await runtime.close()
    assert "".join(item.text for item in record.items if isinstance(item, TextDelta)) == "hello"
    body = api.calls("main")[-1]["body"]
    tools = {tool["name"] for tool in body["tools"]}
    assert {"mcp__hive__send", "mcp__hive__wait", "Bash"} <= tools
    assert not tools & set(claude_settings(AgentSettings())["permissions"]["deny"])
    assert "You are alice." in json.dumps(body["system"])


async def test_a_message_that_looks_like_a_command_or_names_a_file_reaches_the_model_as_it_is(lab: ClaudeLab) -> None:
    (lab.work / "secret").write_text("nobody asked for this")
    runtime = lab.make()
    lab.script(Say("one"))
    assert (await turn(runtime, "/cost of @secret")).ok
    await runtime.close()
    assert "/cost of @secret" in lab.conversation()
    assert "nobody asked for this" not in lab.conversation()


async def test_with_a_list_of_what_is_allowed_hives_tools_work_and_others_are_refused(
    lab: ClaudeLab, mcp: TinyMcp
) -> None:
    runtime = lab.make(settings={"permissions": {"allow": ["Read"]}})
    lab.script(Call("send", {"to": "bob", "body": "hi"}), Shell("touch forbidden"), Say("done"))
    record = Record()
    outcome = await turn(runtime, "go", record=record)
    await runtime.close()
    assert outcome.ending is Ending.OK
    assert [result.is_error for result in record.results()] == [False, True]
    assert not (lab.work / "forbidden").exists()


async def test_a_tool_that_a_rule_denies_is_not_there_and_a_denied_use_of_one_is_refused(
    lab: ClaudeLab, api: FakeMessages
) -> None:
    runtime = lab.make(settings={"permissions": {"deny": ["WebFetch", "Bash(touch *)"]}})
    lab.script(Shell("touch forbidden"), Shell("echo free"), Say("done"))
    record = Record()
    outcome = await turn(runtime, "go", record=record)
    await runtime.close()
    assert outcome.ending is Ending.OK
    assert [result.is_error for result in record.results()] == [True, False]
    assert not (lab.work / "forbidden").exists()
    assert "WebFetch" not in {tool["name"] for tool in api.calls("main")[-1]["body"]["tools"]}


async def test_a_shell_of_the_model_does_not_see_the_token_of_hives_tools(lab: ClaudeLab) -> None:
    runtime = lab.make()
    lab.script(Shell("env; cat /proc/$PPID/cmdline"), Say("done"))
    record = Record()
    assert (await turn(runtime, "go", record=record)).ok
    await runtime.close()
    output = record.results()[0].output
    assert "HIVE_CHILD=" in output and "--mcp-config" in output
    assert TOKEN not in output


async def test_further_servers_are_used_and_those_that_failed_are_seen(lab: ClaudeLab, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(STDIO_SERVER)
    servers = {
        "own": {"command": [sys.executable, str(tmp_path / "own.py")]},
        "gone": {"url": "http://127.0.0.1:9/mcp"},
    }
    runtime = lab.make(settings={"mcp_servers": servers})
    lab.script(Call("own__look"), Say("done"))
    record = Record()
    assert (await turn(runtime, "look", record=record)).ok
    await runtime.close()
    assert [result.output for result in record.results()] == ["looked"]
    assert record.notes == ["MCP servers without tools: gone (failed)"]
    assert "the MCP server gone is failed: its tools are missing in this turn" in [
        item.text for item in record.items if isinstance(item, Notice)
    ]


@pytest.mark.full
async def test_a_server_that_hangs_at_its_start_is_given_up_and_the_turn_goes_on(lab: ClaudeLab) -> None:
    servers = {"hangs": {"command": ["sleep", "100"]}}
    runtime = lab.make(settings={"mcp_servers": servers, "env": {"MCP_TIMEOUT": "1000"}})
    lab.script(Say("done"))
    record = Record()
    assert (await turn(runtime, "hello", record=record)).ok
    await runtime.close()
    assert "hangs (failed)" in record.notes[0]


@pytest.mark.full
async def test_a_prompt_that_changed_counts_when_the_conversation_goes_on(lab: ClaudeLab, api: FakeMessages) -> None:
    lab.script(Say("one"), Say("two"))
    runtime = lab.make()
    first = await turn(runtime, "hello")
    await runtime.close()
    lab.prompt = "You are alice the second."
    later = lab.make()
    assert (await turn(later, "hello again", first.session)).ok
    await later.close()
    assert "alice the second" in json.dumps(api.calls("main")[-1]["body"]["system"])


@pytest.mark.full
@pytest.mark.parametrize("kind", ["overload", "away"])
async def test_a_compaction_that_the_api_refuses_is_an_error_and_the_conversation_stays(
    lab: ClaudeLab, kind: str
) -> None:
    runtime = lab.make()
    lab.script(Say("one"), Say("two"), Say("three"))
    first = await turn(runtime, "the first question")
    await turn(runtime, "the second question", first.session)
    with lab.failing(Failure(kind)), pytest.raises(TransientError, match="could not compact"):
        await runtime.compact(first.session, Record())
    assert (await turn(runtime, "the third question", first.session)).ok
    await runtime.close()
    assert "the first question" in lab.conversation()
