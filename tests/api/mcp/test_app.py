"""/mcp with the SDK's own client: who sees which tools, what they answer, and that nothing gets lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError

import api.mcp.tools
from api.operations.base import Call, Operation
from api.operations.table import OPERATIONS
from meta.names import MANAGER
from tests.api.conftest import Hive
from tests.support.fake_service import ALICE, SHA
from tests.support.mcp_client import MODES, Mode, Polls, call, connected, raw_call, texts

OF_AGENTS = {"send", "recv", "ask", "answer", "remind", "loose_ends", "cancel_loose_end", "whoami", "request_network"}
OF_THE_MANAGER = {"request_spawn", "request_apply_commit", "kill", "start", "restart", "update", "get_logs"}


@pytest.fixture
def polls(pods: Hive, monkeypatch: pytest.MonkeyPatch) -> Polls:
    return Polls(pods.fake.broker, monkeypatch)


async def names(path: Path, mode: Mode) -> set[str]:
    async with connected(path, mode) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", MODES)
async def test_each_principal_sees_exactly_its_tools(hive: Hive, mode: Mode) -> None:
    assert await names(hive.layout.agent_http_socket(ALICE), mode) == OF_AGENTS
    assert await names(hive.layout.agent_http_socket(MANAGER), mode) == OF_AGENTS | OF_THE_MANAGER


async def test_the_operators_socket_carries_what_the_table_declares(hive: Hive) -> None:
    seen = await names(hive.layout.http_socket, "auto")
    assert {"send", "kill", "request_apply_commit"} <= seen
    assert not {"recv", "whoami", "remind"} & seen
    async with connected(hive.layout.http_socket) as client:
        assert texts(await client.call_tool("kill", {"name": "alice"})) == ["queued: stop of alice"]
    ((verb, agent, by, _),) = hive.fake.calls
    assert (verb, agent) == ("stop", "alice")
    assert str(by).startswith("operator uid ")


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_is_told_who_it_is_and_whom_it_can_write_to(pods: Hive, mode: Mode) -> None:
    async with connected(pods.layout.agent_http_socket(ALICE), mode) as client:
        assert client.instructions is not None
        assert client.instructions.startswith("You are alice, an agent of a hive")
        assert "You can write to operator, manager, and to all agents" in client.instructions
        assert "`request_spawn`" not in client.instructions
    async with connected(pods.layout.agent_http_socket(MANAGER), mode) as client:
        assert client.instructions is not None
        assert "You can write to operator, alice, and" in client.instructions
        assert "`request_spawn`" in client.instructions


@pytest.mark.parametrize("mode", MODES)
async def test_mail_goes_from_one_to_the_other_without_its_id(pods: Hive, mode: Mode) -> None:
    sent = await call(pods, ALICE, "send", mode, to="manager", body="über 9000 ✓")
    assert (sent.is_error, texts(sent)) == (False, ["sent to manager", "0 unread"])
    await pods.fake.broker.send("operator", MANAGER, "second")
    got = await call(pods, MANAGER, "recv", mode)
    assert texts(got) == ["from: alice\n\n    über 9000 ✓", "1 unread"]
    assert got.structured_content is None
    assert texts(await call(pods, MANAGER, "recv", mode, wait_seconds=0)) == [
        "from: operator\n\n    second",
        "0 unread",
    ]
    assert texts(await call(pods, MANAGER, "recv", mode, wait_seconds=0)) == ["no message", "0 unread"]


async def test_who_sends_cannot_be_chosen(pods: Hive) -> None:
    sent = await call(pods, ALICE, "send", **{"to": "manager", "body": "x", "from": "operator", "sender": "system"})
    assert texts(sent) == [
        "sent to manager",
        "ignored, because send has no such argument: from, sender",
        "0 unread",
    ]
    assert texts(await call(pods, MANAGER, "recv"))[0] == "from: alice\n\n    x"


@pytest.mark.parametrize("mode", MODES)
async def test_every_tool_of_an_agent_answers(pods: Hive, mode: Mode) -> None:
    assert texts(await call(pods, ALICE, "whoami", mode)) == ["alice (agent), hive rev1", "0 unread"]
    assert texts(await call(pods, MANAGER, "whoami", mode)) == ["manager (manager), hive rev1", "0 unread"]
    asked = await call(pods, ALICE, "ask", mode, question="May I?", options=["yes", "no"], to="manager")
    assert (asked.is_error, texts(asked)[0].startswith("question 1 ")) == (False, True), texts(asked)
    assert "question_asked" in texts(await call(pods, MANAGER, "recv", mode, wait_seconds=0))[0]
    assert not (await call(pods, MANAGER, "answer", mode, id=1, answer="yes")).is_error
    assert "question_answered" in texts(await call(pods, ALICE, "recv", mode, wait_seconds=0))[0]
    assert not (await call(pods, ALICE, "remind", mode, message="look again", seconds=600)).is_error
    assert not (await call(pods, ALICE, "remind", mode, message="later", unix_timestamp=1_800_000_000)).is_error
    ends = texts(await call(pods, ALICE, "loose_ends", mode))
    assert ("look again" in ends[0], "later" in ends[0]) == (True, True), ends
    assert not (await call(pods, ALICE, "cancel_loose_end", mode, kind="reminder", id=1)).is_error
    again = await call(pods, ALICE, "cancel_loose_end", mode, kind="reminder", id=1)
    assert again.is_error
    assert "look again" not in texts(await call(pods, ALICE, "loose_ends", mode))[0]


@pytest.mark.parametrize("mode", MODES)
async def test_every_verb_of_the_manager_is_done_as_the_manager(pods: Hive, mode: Mode) -> None:
    for verb in ("kill", "start", "restart", "update"):
        answer = await call(pods, MANAGER, verb, mode, name="alice")
        assert answer.is_error is False, texts(answer)
        assert texts(answer)[0].startswith("queued: ")
    assert texts(await call(pods, MANAGER, "get_logs", mode, agent="alice", lines=7))[0] == "7 lines of alice\n"
    asked = await call(pods, MANAGER, "request_spawn", mode, name="bob", description="writes docs")
    assert texts(asked)[0].startswith("proposal 1 for bob waits for the operator")
    asked = await call(pods, MANAGER, "request_apply_commit", mode, agent="alice", commit_ref=SHA)
    assert texts(asked)[0].startswith("proposal 2 for alice waits for the operator")
    assert [(done[0], done[2]) for done in pods.fake.calls] == [
        *(("stop", "manager"), ("start", "manager"), ("restart", "manager"), ("rebuild", "manager")),
        *(("request_spawn", "manager"), ("propose", "manager")),
    ]


@pytest.mark.parametrize("tool", [*sorted(OF_THE_MANAGER), "ack_turn", "requeue_inflight", "wake", "recent", "nope"])
async def test_what_is_no_tool_of_an_agent_cannot_be_called(pods: Hive, tool: str) -> None:
    async with connected(pods.layout.agent_http_socket(ALICE)) as client:
        with pytest.raises(MCPError, match=f"there is no tool '{tool}'"):
            await client.call_tool(tool, {"name": "manager", "agent": "manager", "commit_ref": SHA, "limit": 1})
    assert pods.fake.calls == []


@pytest.mark.parametrize("mode", MODES)
async def test_an_expected_error_is_a_tools_error_that_says_what_to_do(pods: Hive, mode: Mode) -> None:
    failed = await call(pods, MANAGER, "start", mode, name="ghost")
    assert failed.is_error
    assert texts(failed) == ["error: there is no agent ghost\nsee `hive list`", "0 unread"]
    missing = await call(pods, ALICE, "send", mode, to="manager")
    assert missing.is_error
    assert texts(missing)[0] == "error: body: this field is missing\nthe arguments are to (string), body (string)"


@pytest.mark.parametrize("mode", MODES)
async def test_an_unexpected_error_is_logged_and_shows_nothing_of_hives_inside(
    pods: Hive, mode: Mode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("secret of hive")

    monkeypatch.setattr(pods.fake, "restart", fail)
    failed = await call(pods, MANAGER, "restart", mode, name="alice")
    assert failed.is_error
    assert texts(failed) == ["error: hive failed with an internal error; its log has the details"]
    assert "secret of hive" in caplog.text


@pytest.mark.parametrize("mode", MODES)
async def test_calls_of_one_client_run_at_the_same_time(pods: Hive, polls: Polls, mode: Mode) -> None:
    async with asyncio.timeout(20), connected(pods.layout.agent_http_socket(ALICE), mode) as client:
        waits = [asyncio.ensure_future(client.call_tool("recv", {"wait_seconds": 60})) for _ in range(5)]
        await polls.begun(5)
        sends = [client.call_tool("send", {"to": "alice", "body": str(n)}) for n in range(5)]
        assert not any(result.is_error for result in await asyncio.gather(*sends))
        got = await asyncio.gather(*waits)
    assert sorted(texts(result)[0] for result in got) == [f"from: alice\n\n    {n}" for n in range(5)]


async def test_tools_that_ended_by_themselves_begin_anew_at_the_next_call(
    pods: Hive, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(20):
        assert not (await call(pods, ALICE, "whoami")).is_error
        endpoints = [servers.endpoint for servers in pods.sockets._servers.values()]
        for endpoint in [each for each in endpoints if each._running is not None]:
            running = endpoint._running
            assert running is not None
            running.cancel()
            await asyncio.wait({running})
        assert "the MCP server of alice ended; the next request starts it again" in caplog.text
        assert not (await call(pods, ALICE, "whoami")).is_error
    assert pods.fake.background.failure is None, "what an agent sends cannot end the daemon"


@pytest.mark.parametrize("mode", MODES)
async def test_a_draining_agents_recv_comes_back_empty(pods: Hive, polls: Polls, mode: Mode) -> None:
    async with asyncio.timeout(20), connected(pods.layout.agent_http_socket(ALICE), mode) as client:
        waiting = asyncio.ensure_future(client.call_tool("recv", {"wait_seconds": 60}))
        await polls.begun(1)
        pods.fake.broker.interrupt(ALICE)
        assert texts(await waiting) == ["no message", "0 unread"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_goes_away_while_it_waits_loses_no_message(pods: Hive, polls: Polls, mode: Mode) -> None:
    async with asyncio.timeout(20):
        reader, writer = await raw_call(pods.layout.agent_http_socket(ALICE), mode, "recv", {"wait_seconds": 60})
        await polls.begun(1)
        writer.close()
        await writer.wait_closed()
        await polls.over(1)
        await pods.fake.broker.send("operator", ALICE, "still there")
        assert await pods.fake.broker.unread(ALICE) == 1
        got = await call(pods, ALICE, "recv", mode)
    assert texts(got)[0] == "from: operator\n\n    still there"
    assert await reader.read() == b"" or mode == "legacy"  # the older era had begun its stream


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_call_loses_no_message(pods: Hive, polls: Polls, mode: Mode) -> None:
    async with asyncio.timeout(20), connected(pods.layout.agent_http_socket(ALICE), mode) as client:
        waiting = asyncio.ensure_future(client.call_tool("recv", {"wait_seconds": 60}))
        await polls.begun(1)
        waiting.cancel()
        await asyncio.wait({waiting})
        await polls.over(1)
        await pods.fake.broker.send("operator", ALICE, "kept")
        assert texts(await client.call_tool("recv"))[0] == "from: operator\n\n    kept"


async def test_whether_an_answer_was_written_is_told_to_who_wants_to_know(
    pods: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    going = asyncio.Event()
    whoami = next(operation for operation in OPERATIONS if operation.name == "whoami")

    async def handle(asked: Call, given: Any) -> Any:
        asked.after.append(told.put)
        await going.wait()
        return await whoami.handler(asked, given)

    patched: Operation[Any, Any] = replace(whoami, handler=handle)
    tools = {"whoami": api.mcp.tools.view("whoami", patched)}
    monkeypatch.setattr(api.mcp.tools, "tools_for", lambda _role: tools)
    async with asyncio.timeout(20):
        _, writer = await raw_call(pods.layout.agent_http_socket(ALICE), "auto", "whoami", {})
        writer.close()
        await writer.wait_closed()
        assert await told.get() is False
        going.set()
        await call(pods, ALICE, "whoami")
        assert await told.get() is True


async def test_closing_the_sockets_ends_waiting_calls_at_once(pods: Hive, polls: Polls) -> None:
    async with asyncio.timeout(20):
        _, writer = await raw_call(pods.layout.agent_http_socket(ALICE), "auto", "recv", {"wait_seconds": 60})
        await polls.begun(1)
        async with asyncio.timeout(5):
            await pods.sockets.close(ALICE)
        assert not pods.layout.agent_http_socket(ALICE).exists()
        writer.close()
        await writer.wait_closed()
        await pods.sockets.open(ALICE, None)
        assert texts(await call(pods, ALICE, "whoami"))[0] == "alice (agent), hive rev1"


@pytest.mark.parametrize("mode", MODES)
async def test_a_message_that_meets_a_client_just_leaving_comes_to_the_next_one(
    pods: Hive, polls: Polls, mode: Mode
) -> None:
    path = pods.layout.agent_http_socket(ALICE)
    async with asyncio.timeout(40):
        for n in range(1, 7):
            _, writer = await raw_call(path, mode, "recv", {"wait_seconds": 60})
            await polls.begun(2 * n - 1)
            sending = asyncio.ensure_future(pods.fake.broker.send("operator", ALICE, f"message {n}"))
            for _ in range(n):  # leave a little later each time
                await asyncio.sleep(0)
            writer.transport.abort()
            await sending
            await polls.over(2 * n - 1)
            assert texts(await call(pods, ALICE, "recv", mode))[0] == f"from: operator\n\n    message {n}"


async def test_an_agent_asks_for_a_host_and_its_answer_says_that_it_has_to_wait(hive: Hive) -> None:
    async with connected(hive.layout.agent_http_socket(ALICE)) as client:
        given = {"host": "crates.io", "port": "443", "why": "cargo build"}
        (text, *_) = texts(await client.call_tool("request_network", given))
        assert text.startswith("request 4 for crates.io:443 waits for the operator. Go on with something else")
        assert hive.fake.calls == [("request", ALICE, "crates.io", 443, "cargo build")]
        for wrong in ({"host": "crates.io"}, {**given, "port": 0}, {**given, "host": "x" * 301}):
            (error, *_) = texts(await client.call_tool("request_network", wrong))
            assert error.startswith("error: ")
    assert len(hive.fake.calls) == 1
