"""A paused turn of runtime `script` goes on exactly where it was: nothing is done twice, nothing is left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.environment import Environment
from harness.runtimes.base import Ending, TurnRequest
from harness.runtimes.script import ScriptRuntime
from harness.stop import Cause, Stop
from harness.turn import STOP_SECONDS, take_turn
from meta.agent_toml.settings import TurnLimits, parse_settings
from meta.names import AgentName
from meta.wire.agent import MessageResponse
from tests.contract.runtimes.lab import Record
from tests.support.scripted_runtime import EventList

RULES = b"""
[[script]]
send = { to = "bob", body = "first" }
sleep = 0.3
reply = "last"
"""


class Sent:
    """Tools whose sends take a moment, in which a turn can be cut off."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.sending = asyncio.Event()
        self.go_on = asyncio.Event()

    async def send(self, to: str, body: str) -> None:
        self.sending.set()
        await self.go_on.wait()
        self.sent.append(body)

    async def ask(self, *_: object, **__: object) -> None:
        raise AssertionError

    async def answer(self, *_: object) -> None:
        raise AssertionError

    async def remind(self, *_: object) -> None:
        raise AssertionError

    async def request_apply_commit(self, *_: object) -> None:
        raise AssertionError


def runtime_of(tmp_path: Path, tools: Sent) -> ScriptRuntime:
    environment = Environment(AgentName("alice"), False, "g", "n", tmp_path, tmp_path, tmp_path, tmp_path)
    return ScriptRuntime(parse_settings(RULES), environment, tools)


MESSAGE = MessageResponse(sender="pod.sock", body="work", id=-1)


@pytest.mark.parametrize("where", ["within a send", "within a sleep"])
async def test_a_turn_that_goes_on_begins_where_it_was_cut(tmp_path: Path, where: str) -> None:
    tools, record = Sent(), Record()
    runtime = runtime_of(tmp_path, tools)
    if where == "within a sleep":
        tools.go_on.set()
    turn = asyncio.create_task(runtime.turn(TurnRequest(MESSAGE, ""), record))
    await tools.sending.wait()
    while where == "within a sleep" and not tools.sent:
        await asyncio.sleep(0)
    for _ in range(5):  # the sleep has begun
        await asyncio.sleep(0)
    turn.cancel()
    tools.go_on.set()
    await asyncio.gather(turn, return_exceptions=True)
    assert tools.sent == ["first"]  # what had begun is done
    began = asyncio.get_running_loop().time()
    outcome = await runtime.turn(TurnRequest(MESSAGE, "", goes_on=True), record)
    seconds = asyncio.get_running_loop().time() - began
    assert outcome.ending is Ending.OK
    assert tools.sent == ["first"]
    assert [item.type for item in record.items] == ["text"]
    assert seconds >= (0.0 if where == "within a sleep" else 0.28)


async def test_another_message_or_a_new_run_begins_at_the_first_action(tmp_path: Path) -> None:
    for request in (TurnRequest(MESSAGE, ""), TurnRequest(MESSAGE.model_copy(update={"id": 7}), "", goes_on=True)):
        tools, record = Sent(), Record()
        tools.go_on.set()
        runtime = runtime_of(tmp_path, tools)
        turn = asyncio.create_task(runtime.turn(TurnRequest(MESSAGE, ""), record))
        while not tools.sent:
            await asyncio.sleep(0)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        await runtime.turn(request, record)
        assert tools.sent == ["first", "first"]


async def test_a_turn_of_the_script_runtime_ends_at_once_when_somebody_stops_it(tmp_path: Path) -> None:
    tools = Sent()
    tools.go_on.set()
    rules = b'[[script]]\nsend = { to = "bob", body = "first" }\nsleep = 600\n'
    environment = Environment(AgentName("alice"), False, "g", "n", tmp_path, tmp_path, tmp_path, tmp_path)
    runtime = ScriptRuntime(parse_settings(rules), environment, tools)
    stop = Stop()
    turn = asyncio.create_task(take_turn(runtime, TurnRequest(MESSAGE, ""), EventList(), TurnLimits(), stop))
    while not tools.sent:
        await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    stop.request(Cause.POD)
    outcome, _ = await turn
    assert outcome.ending is Ending.CANCELLED
    assert asyncio.get_running_loop().time() - began < STOP_SECONDS / 2
