"""The library of the protocol reads the recorded streams as hive's own client does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from acp import schema

from harness.runtimes.acp.peer import Peer
from harness.runtimes.acp.rules import look_up
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.acp.updates import Reader
from meta.wire.live import TextDelta, ToolResult
from tests.support.acp_player import load, written

STREAMS = sorted((Path(__file__).parent / "streams").glob("*.jsonl"))
TEXT = "agent_message_chunk"


def updates(stream: Path) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in written(stream)]
    return [message["params"] for message in messages if message.get("method") == "session/update"]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.name[:2])
def test_texts_and_ends_of_tools_are_those_that_the_library_reads(stream: Path) -> None:
    reader = Reader(PRESETS["acp"])
    items = [item for params in updates(stream) for item in reader.read(params["update"])]
    theirs = [schema.SessionNotification.model_validate(params).update for params in updates(stream)]
    chunks = [one.content.text for one in theirs if isinstance(one, schema.AgentMessageChunk)]
    ends = [
        one.tool_call_id
        for one in theirs
        if isinstance(one, schema.ToolCallProgress) and one.status in ("completed", "failed")
    ]
    assert [item.text for item in items if isinstance(item, TextDelta)] == chunks
    assert [item.id for item in items if isinstance(item, ToolResult)] == ends


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.name[:2])
def test_the_tokens_of_each_prompt_are_those_that_the_library_reads(stream: Path) -> None:
    for part in load(stream):
        prompts = {one["msg"]["id"] for one in part if one["msg"].get("method") == "session/prompt"}
        for one in part:
            result = one["msg"].get("result")
            if one["dir"] == "<" and one["msg"].get("id") in prompts and "method" not in one["msg"] and result:
                theirs = schema.PromptResponse.model_validate(result)
                assert look_up(result, ("stopReason",)) == theirs.stop_reason
                usage = theirs.usage
                assert look_up(result, PRESETS["acp"].input_tokens) == (usage and usage.input_tokens)


async def test_what_hive_asks_is_what_the_library_would_ask() -> None:
    lines: list[bytes] = []

    class Owner:
        def notified(self, method: str, params: dict[str, Any]) -> None: ...
        def asked(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None: ...

    peer = Peer(lambda data: lines.append(data) or True, Owner())  # type: ignore[func-returns-value]
    peer.start("session/prompt", {"sessionId": "s", "prompt": [{"type": "text", "text": "hi"}]}).cancel()
    sent = json.loads(lines[0])
    assert schema.PromptRequest.model_validate(sent["params"]).session_id == "s"
    assert (sent["jsonrpc"], sent["id"], sent["method"]) == ("2.0", 0, "session/prompt")
