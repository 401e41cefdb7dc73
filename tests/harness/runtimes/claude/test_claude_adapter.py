"""The adapter against programs that behave as no healthy CLI does, or as an older one."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from harness.runtimes.base import CompactionFailed, Enclosure, Ending, RuntimeSpec, TurnOutcome, TurnRequest
from harness.runtimes.claude import adapter
from harness.runtimes.claude.adapter import ClaudeRuntime
from meta.agent_toml.settings import AgentSettings
from meta.errors import PermanentError
from meta.names import AgentName
from meta.wire.agent import MessageResponse
from tests.contract.runtimes.lab import Record, processes

HEAD = """#!/usr/bin/python3
import json, os, signal, sys, time
if "--version" in sys.argv:
    print("2.1.329 (Claude Code)")
    sys.exit()
def say(kind, **more):
    print(json.dumps({"type": kind, **more}), flush=True)
def init(**more):
    say("system", subtype="init", session_id="s", model="m", **more)
def result(text="done", **more):
    say("result", **{"is_error": False, "subtype": "success", "result": text, **more})
def read():
    return json.loads(sys.stdin.readline())
"""

SESSION = "11111111-1111-4111-8111-111111111111"


class World:
    """A folder with a program in the place of the CLI."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = Record()
        self.program = folder / "claude"
        (folder / "home").mkdir()

    def make(self, body: str, head: str = HEAD, **settings: Any) -> ClaudeRuntime:
        self.program.write_text(head + body)
        self.program.chmod(0o755)
        table = {"runtime": "claude", "command": [str(self.program)], **settings}
        enclosure = Enclosure(self.folder / "home", self.folder, self.folder / "files", {"PATH": "/usr/bin:/bin"})
        return ClaudeRuntime(RuntimeSpec(AgentName("a"), False, AgentSettings.model_validate(table), enclosure))

    async def turn(self, runtime: ClaudeRuntime, text: str = "hello", session: str | None = None) -> TurnOutcome:
        message = MessageResponse(sender="operator", body=text, id=1)
        return await runtime.turn(TurnRequest(message, text, session), self.record)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_cli_that_is_too_old_parks_the_turn_and_says_which_one_to_install(world: World) -> None:
    runtime = world.make("", "#!/bin/sh\necho '2.1.197 (Claude Code)'\n")
    outcome = await world.turn(runtime)
    assert outcome.ending is Ending.PARKED
    assert outcome.reason.startswith("claude 2.1.197 is too old (npm install -g @anthropic-ai/claude-code@2.1.329")
    assert "hive takes 2.1.248 and newer" in outcome.reason


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo hello", "printed 'hello'"), ("echo bad >&2; exit 3", "failed: bad"), ("exit 3", "failed: exit code 3")],
)
async def test_a_program_that_is_not_claude_is_an_error_with_the_remedy(world: World, script: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as raised:
        await world.make("", f"#!/bin/sh\n{script}\n").version()
    assert "npm install -g @anthropic-ai/claude-code@2.1.329" in raised.value.hint


async def test_the_files_of_the_cli_are_private(world: World) -> None:
    runtime = world.make("read(); init(); result()")
    assert (await world.turn(runtime)).ok
    await runtime.close()
    files = world.folder / "files"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.iterdir()} == {
        "claude-mcp.json": 0o600,
        "claude-settings.json": 0o600,
    }


async def test_files_that_cannot_be_written_park_the_turn(world: World) -> None:
    (world.folder / "files").write_text("in the way")
    outcome = await world.turn(world.make(""))
    assert (outcome.ending, "cannot write the files of claude" in outcome.reason) == (Ending.PARKED, True)


async def test_an_option_that_an_other_version_lacks_is_left_out_with_a_note(world: World) -> None:
    runtime = world.make(
        """
if "--include-partial-messages" in sys.argv:
    sys.exit("error: unknown option '--include-partial-messages'")
read(); init(); result()
"""
    )
    assert (await world.turn(runtime)).ok
    await runtime.close()
    assert world.record.notes == ["this claude has no option --include-partial-messages: it is started without it"]


async def test_a_cli_that_cannot_stream_its_input_does_one_turn_for_each_process(world: World) -> None:
    runtime = world.make(
        """
if "--input-format" in sys.argv:
    sys.exit("error: unknown option '--input-format'")
init(); result(f"{sys.stdin.read()} {'--resume' in sys.argv}")
"""
    )
    first = await world.turn(runtime, "one")
    assert not await runtime.inject("more")
    second = await world.turn(runtime, "two", first.session)
    assert (first.ok, second.ok, second.session) == (True, True, first.session)
    results = [line["result"] for line in world.record.lines if isinstance(line, dict) and line["type"] == "result"]
    assert results == ["one False", "two True"]
    assert list(processes(world.folder / "home")) == []


async def test_a_cli_that_ended_between_two_turns_is_started_again_with_a_note(world: World) -> None:
    runtime = world.make("read(); init(result=os.getpid()); result(); sys.exit(5)")
    first = await world.turn(runtime)
    pid = world.record.lines[0]["result"]  # type: ignore[index]
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        await asyncio.sleep(0.01)
    assert (await world.turn(runtime, session=first.session)).ok
    await runtime.close()
    assert world.record.notes == ["claude ended between two turns, exit code 5: it is started again"]


async def test_what_a_cli_does_by_itself_between_two_turns_is_recorded_and_counts_for_the_next(
    world: World,
) -> None:
    runtime = world.make(
        """
read(); init(); result(usage={"input_tokens": 1, "output_tokens": 1})
init(); result("by itself", usage={"input_tokens": 500, "output_tokens": 7})
read(); init(); result(usage={"input_tokens": 1, "output_tokens": 1}); read()
"""
    )
    first = await world.turn(runtime)
    while len(world.record.lines) < 4:
        await asyncio.sleep(0.01)
    second = await world.turn(runtime, session=first.session)
    await runtime.close()
    assert world.record.notes == ["claude began a turn of its own, between two turns"]
    assert (first.tokens.input, second.tokens.input, second.tokens.output) == (1, 501, 8)


async def test_a_cli_that_writes_without_end_between_two_turns_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "IDLE_LINES", 20)
    runtime = world.make("read(); init(); result()\nwhile True: print('x', flush=True)")
    first = await world.turn(runtime)
    while not world.record.notes:
        await asyncio.sleep(0.01)
    assert world.record.notes == ["claude wrote 20 lines between two turns: its process is ended"]
    assert (await world.turn(runtime, session=first.session)).ok
    await runtime.close()
    assert list(processes(world.folder / "home")) == []


async def test_a_name_that_is_none_of_a_conversation_of_claude_begins_a_new_one(world: World) -> None:
    runtime = world.make("read(); init(); result(str('--resume' in sys.argv)); read()")
    outcome = await world.turn(runtime, session="--dangerous")
    await runtime.close()
    assert world.record.lines[-1]["result"] == "False"  # type: ignore[index]
    assert outcome.session != "--dangerous"


async def test_a_cli_that_lacks_one_option_after_another_is_not_started_for_ever(world: World) -> None:
    runtime = world.make("""sys.exit(f"error: unknown option '{[word for word in sys.argv if '--' in word][0]}'")""")
    async with asyncio.timeout(20):
        assert (await world.turn(runtime)).ending is Ending.CRASHED


async def test_a_question_of_the_cli_is_answered_so_that_nothing_hangs(world: World) -> None:
    runtime = world.make(
        """
read(); init()
say("control_request", request_id="1", request={"subtype": "can_use_tool", "tool_name": "Bash", "input": {}})
say("control_request", request_id="2", request={"subtype": "elicitation"})
answers = [read()["response"], read()["response"]]
result(json.dumps([answers[0]["response"]["behavior"], answers[1]["subtype"]]))
"""
    )
    assert (await world.turn(runtime)).ok
    await runtime.close()
    assert world.record.lines[-1]["result"] == '["deny", "error"]'  # type: ignore[index]


async def test_servers_that_failed_are_noted_once_and_again_when_they_are_back(world: World) -> None:
    runtime = world.make(
        """
for state in ("failed", "failed", "connected"):
    read(); init(mcp_servers=[{"name": "web", "status": state}, {"name": "hive", "status": "connected"}]); result()
read()
"""
    )
    session = None
    for _ in range(3):
        session = (await world.turn(runtime, session=session)).session
    await runtime.close()
    assert world.record.notes == ["MCP servers without tools: web (failed)", "all MCP servers have their tools again"]
    assert sum("web is failed" in getattr(item, "text", "") for item in world.record.items) == 2


async def test_a_turn_without_hives_tools_is_ended_and_its_message_waits(world: World) -> None:
    runtime = world.make(
        """
for state in ("connected", "failed"):
    read(); init(mcp_servers=[{"name": "hive", "status": state}]); result()
read()
"""
    )
    first = await world.turn(runtime)
    second = await world.turn(runtime, session=first.session)
    assert (first.ending, second.ending, second.session) == (Ending.OK, Ending.PARKED, first.session)
    assert "claude could not reach hive's tools (failed)" in second.reason
    assert "`hive restart a`" in second.reason
    assert list(processes(world.folder / "home")) == []


async def test_a_turn_that_is_done_stays_done_if_a_late_text_finds_none_of_hives_tools(world: World) -> None:
    runtime = world.make(
        """
read(); init(mcp_servers=[{"name": "hive", "status": "connected"}]); late = read(); result()
say("command_lifecycle", command_uuid=late["uuid"], state="started")
init(mcp_servers=[{"name": "hive", "status": "failed"}]); read()
"""
    )
    running = asyncio.ensure_future(world.turn(runtime))
    while not world.record.lines:
        await asyncio.sleep(0.01)
    assert await runtime.inject("more")
    outcome = await running
    assert (outcome.ending, outcome.unseen) == (Ending.OK, ("more",))
    assert outcome.session is not None
    assert world.record.notes == ["MCP servers without tools: hive (failed)"]
    assert list(processes(world.folder / "home")) == []


async def test_a_compaction_needs_none_of_hives_tools(world: World) -> None:
    runtime = world.make(
        """
read(); init(mcp_servers=[{"name": "hive", "status": "failed"}])
say("system", subtype="compact_boundary", compact_metadata={"pre_tokens": 9, "post_tokens": 4})
result()
"""
    )
    compacted = await runtime.compact(SESSION, world.record)
    await runtime.close()
    assert compacted is not None
    assert compacted.tokens_before == 9


async def test_a_compaction_of_the_cli_itself_is_reported_and_one_that_was_asked_for_is_not(world: World) -> None:
    compacts = 'say("system", subtype="compact_boundary", compact_metadata={"pre_tokens": 9, "post_tokens": 4})'
    runtime = world.make(f"read(); init(); {compacts}; result(); read(); init(); {compacts}; result(); read()")
    outcome = await world.turn(runtime)
    assert world.record.compactions == [(9, 4)]
    assert await runtime.compact(outcome.session, world.record) is not None
    assert world.record.compactions == [(9, 4)]
    await runtime.close()


async def test_a_model_that_a_running_cli_does_not_take_is_given_to_a_new_one(world: World) -> None:
    runtime = world.make(
        """
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "control_request":
        say("control_response", response={"subtype": "error", "request_id": request["request_id"], "error": "no"})
    else:
        init(); result(sys.argv[sys.argv.index("--model") + 1])
"""
    )
    first = await world.turn(runtime)
    message = MessageResponse(sender="operator", body="", id=1)
    second = await runtime.turn(TurnRequest(message, "again", first.session, "opus"), world.record)
    await runtime.close()
    assert second.ok
    assert world.record.lines[-1]["result"] == "opus"  # type: ignore[index]


async def test_a_cli_that_does_not_heed_an_interrupt_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "INTERRUPT_SECONDS", 0.1)
    runtime = world.make("read(); init()\nfor line in sys.stdin: pass")
    running = asyncio.ensure_future(world.turn(runtime))
    while not world.record.lines:
        await asyncio.sleep(0.01)
    await runtime.interrupt()
    assert (await running).ending is Ending.CANCELLED
    assert list(processes(world.folder / "home")) == []


async def test_a_late_text_of_which_the_cli_says_nothing_does_not_keep_the_turn_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "LATE_SECONDS", 0.1)
    runtime = world.make("read(); init(); read(); result()\nfor line in sys.stdin: pass")
    running = asyncio.ensure_future(world.turn(runtime))
    while not world.record.lines:
        await asyncio.sleep(0.01)
    assert await runtime.inject("more")
    outcome = await running
    assert (outcome.ok, outcome.unseen) == (True, ("more",))
    assert list(processes(world.folder / "home")) == []


@pytest.mark.parametrize(
    "body",
    [
        "read(); init(); read(); result()",
        "read(); init(); it = read(); result(); "
        "say('command_lifecycle', command_uuid=it['uuid'], state='cancelled'); read()",
        "read(); init(); read(); result(); os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
async def test_a_late_text_of_a_cli_that_ends_or_drops_it_is_unseen(
    world: World, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(adapter, "LATE_SECONDS", 2)
    runtime = world.make(body)
    running = asyncio.ensure_future(world.turn(runtime))
    while not world.record.lines:
        await asyncio.sleep(0.01)
    assert await runtime.inject("more")
    outcome = await running
    await runtime.close()
    assert (outcome.ok, outcome.unseen) == (True, ("more",))


async def test_a_text_for_a_conversation_that_the_cli_lost_is_unseen(world: World) -> None:
    runtime = world.make(
        """
if "--resume" in sys.argv:
    read(); init(); read(); result("No conversation found", is_error=True); sys.exit(1)
read(); init(); result(); read()
"""
    )
    running = asyncio.ensure_future(world.turn(runtime, session=SESSION))
    while not world.record.lines:
        await asyncio.sleep(0.01)
    assert await runtime.inject("more")
    outcome = await running
    await runtime.close()
    assert (outcome.ok, outcome.unseen) == (True, ("more",))


async def test_a_line_of_50_mb_within_a_turn_is_shown_by_its_size_and_the_turn_goes_on(world: World) -> None:
    runtime = world.make("read(); init(); print('x' * 50_000_000); result()\nread()")
    assert (await world.turn(runtime)).ok
    await runtime.close()
    assert [item.name for item in world.record.items if item.type == "unknown"] == ["a line of 50000000 bytes"]


async def test_a_refused_compaction_is_an_error(world: World) -> None:
    runtime = world.make("read(); init(); result(is_error=True, api_error_status=529)\nread()")
    with pytest.raises(CompactionFailed, match="could not compact") as failure:
        await runtime.compact(SESSION, world.record)
    assert failure.value.outcome.ending is Ending.PARKED
    await runtime.close()


async def test_a_compaction_that_failed_is_an_error_although_its_result_is_a_success(world: World) -> None:
    runtime = world.make(
        """
read(); init()
say("system", subtype="status", status=None, compact_result="failed", compact_error="Overloaded")
result("Error during compaction"); read()
"""
    )
    with pytest.raises(CompactionFailed, match="could not compact: Overloaded") as failure:
        await runtime.compact(SESSION, world.record)
    assert failure.value.outcome.ending is Ending.PARKED
    await runtime.close()


async def test_a_compaction_says_what_it_cost(world: World) -> None:
    runtime = world.make(
        """
read(); init()
say("system", subtype="compact_boundary", compact_metadata={"pre_tokens": 900, "post_tokens": 90})
result(usage={"input_tokens": 900, "output_tokens": 40}); read()
"""
    )
    compacted = await runtime.compact(SESSION, world.record)
    assert compacted is not None
    assert (compacted.tokens_after, compacted.tokens.input, compacted.tokens.output) == (90, 900, 40)
    await runtime.close()


async def test_a_conversation_that_is_too_short_is_not_compacted(world: World) -> None:
    runtime = world.make(
        """
read(); init()
say("system", subtype="status", status=None, compact_result="failed", compact_error="Not enough messages to compact.")
result("Not enough messages to compact."); read()
"""
    )
    assert await runtime.compact(SESSION, world.record) is None
    await runtime.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('garbage'); print('{'); sys.exit('broken pipe')", "exit code 1 in the turn: broken pipe"),
        ("sys.exit(0)", "exit code 0 in the turn"),
        ("print('garbage', flush=True); os.close(1); time.sleep(60)", "claude closed its output in the turn"),
        ("read(); init(); os.kill(os.getpid(), signal.SIGKILL)", "signal 9 in the turn"),
    ],
)
async def test_a_cli_that_gives_no_result_crashed_and_its_lines_are_kept(world: World, body: str, reason: str) -> None:
    runtime = world.make(body)
    outcome = await world.turn(runtime)
    assert outcome.ending is Ending.CRASHED
    assert reason in outcome.reason
    assert list(processes(world.folder / "home")) == []
    assert ("garbage" in world.record.lines) == ("garbage" in body)


async def test_a_cli_that_crashed_in_its_first_turn_leaves_no_conversation_to_resume(world: World) -> None:
    assert (await world.turn(world.make("sys.exit(1)"))).session is None


async def test_a_cli_that_crashed_later_leaves_the_conversation(world: World) -> None:
    runtime = world.make("read(); init(); result(); read(); sys.exit(1)")
    first = await world.turn(runtime)
    second = await world.turn(runtime, session=first.session)
    assert (second.ending, second.session) == (Ending.CRASHED, first.session)
