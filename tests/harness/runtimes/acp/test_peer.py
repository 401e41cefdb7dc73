"""JSON-RPC with an agent: what a line is, and which answer belongs to which request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from harness.runtimes.acp.peer import AgentError, NoAnswer, Peer
from harness.runtimes.acp.rules import Failure


class World:
    """Takes what the agent sends, and keeps what is sent to it."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.reads = reads
        self.peer = Peer(self.write, self)

    def write(self, data: bytes) -> bool:
        self.sent.append(json.loads(data))
        return self.reads

    def notified(self, method: str, params: dict[str, Any]) -> None:
        self.heard.append(method)

    def asked(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        return {"ok": True} if method == "known" else None

    def say(self, **message: Any) -> str:
        return self.peer.feed(json.dumps(message).encode()).what


@pytest.mark.parametrize("line", [b"Segmentation fault", b"\xff\xfe", b"[" * 5000, b'{"a":NaN}', b"9" * 5000])
def test_a_line_that_is_no_json_is_kept_as_text(line: bytes) -> None:
    parsed = World().peer.feed(line)
    assert (parsed.what, parsed.value) == ("text", line.decode("utf-8", "replace"))


async def test_an_answer_belongs_to_its_request_whatever_the_order() -> None:
    world = World()
    first, second = world.peer.start("a", {}), world.peer.start("b", {})
    assert world.say(id=1, result="second") == "response"
    assert world.say(id=0, result="first") == "response"
    assert (await first, await second) == ("first", "second")


@pytest.mark.parametrize("number", [7, "0", None, [0], True, 0.0])
async def test_an_answer_to_nothing_is_stray(number: Any) -> None:
    world = World()
    future = world.peer.start("a", {})
    assert world.say(id=number, result={}) == "stray"
    assert not future.done()


async def test_an_error_names_its_code_kind_and_text() -> None:
    world = World()
    future = world.peer.start("session/prompt", {})
    world.say(id=0, error={"code": -32603, "message": "too many", "data": {"errorKind": "rate_limit"}})
    with pytest.raises(AgentError) as error:
        await future
    assert error.value.failure == Failure("too many", -32603, "rate_limit")


@pytest.mark.looptime
async def test_a_request_has_a_deadline() -> None:
    with pytest.raises(NoAnswer, match="did not answer initialize in 60 s"):
        await World().peer.request("initialize", {}, 60)


async def test_an_agent_that_does_not_read_or_has_ended_fails_a_request_at_once() -> None:
    world = World(reads=False)
    with pytest.raises(NoAnswer, match="does not read"):
        await world.peer.request("a", {}, 1)
    waiting = asyncio.ensure_future(world.peer.request("b", {}, 1))
    world.peer.close("it ended")
    with pytest.raises(NoAnswer):
        await waiting
    with pytest.raises(NoAnswer, match="it ended"):
        await world.peer.request("c", {}, 1)


def test_a_request_of_the_agent_is_answered_and_an_unknown_one_refused() -> None:
    world = World()
    assert [world.say(id="x", method="known"), world.say(id=2, method="fs/write_text_file")] == ["request"] * 2
    assert world.sent[0] == {"jsonrpc": "2.0", "id": "x", "result": {"ok": True}}
    assert world.sent[1]["error"]["code"] == -32601


def test_a_notification_is_passed_on() -> None:
    world = World()
    assert (world.say(method="session/update"), world.heard) == ("notification", ["session/update"])


@pytest.mark.parametrize("number", ["1e999", "[1]", "{}"])
def test_a_request_whose_number_json_cannot_express_is_answered_without_it(number: str) -> None:
    world = World()
    world.peer.feed(f'{{"id":{number},"method":"known"}}'.encode())
    assert world.sent[0] == {"jsonrpc": "2.0", "id": None, "result": {"ok": True}}
