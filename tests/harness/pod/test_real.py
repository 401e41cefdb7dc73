"""What a pod's client sees of real CLIs: claude, and an agent of the Agent Client Protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from meta.wire import pod
from tests.contract.runtimes.acp_lab import WORLDS, AcpLab
from tests.contract.runtimes.claude_lab import CLAUDE, ClaudeLab
from tests.contract.runtimes.lab import Say, Shell
from tests.contract.runtimes.mcp_server import TinyMcp
from tests.harness.inside import Inside, poll
from tests.support.fake_messages_api import FakeMessages
from tests.support.fake_openai_api import FakeOpenAI
from tests.support.pod_client import PodClient, pod_client

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive

FOURTEEN = {member.model_fields["event"].default for member in get_args(get_args(pod.Event)[0])}


@pytest.fixture
def mcp() -> Iterator[TinyMcp]:
    with TinyMcp() as server:
        yield server


async def drive(inside: Inside, client: PodClient) -> None:
    """Have a run with a tool and a text, one that fails, and the history."""
    await client.send("run", {"input": "use the shell"})
    await client.until_event("run_end")
    await client.send("get_history")
    await client.until_event("history")


@pytest.mark.skipif(not CLAUDE.exists(), reason="the claude CLI is missing: make claude")
async def test_all_fourteen_events_come_from_turns_of_the_real_claude(
    inside: Inside, hive: FakeHive, tmp_path: Path, mcp: TinyMcp
) -> None:
    with FakeMessages() as api:
        lab = ClaudeLab(tmp_path, api, mcp)
        inside.real = lab.make()
        (inside.base / "state" / "work").mkdir(parents=True)
        (inside.base / "state" / "work" / "CLAUDE.md").write_bytes(b"\xff")
        inside.settings = inside.settings.model_copy(update={"runtime": "claude"})
        async with AsyncExitStack() as stack:
            async with inside.start():
                await poll(lambda: (inside.base / "pod.sock").exists())
                client = await stack.enter_async_context(pod_client(inside.base / "pod.sock"))
                lab.script(Shell("echo from-the-shell"), Say("I ran it."))
                await drive(inside, client)
                api.always({"error": 529})
                await client.send("run", {"input": "again"})
                await client.until_event("run_end")
                api.always(None)
            await client.until_event("shutdown")
    kinds, seen = client.kinds, client
    assert {*kinds} == FOURTEEN
    first = kinds[: kinds.index("run_end") + 1]
    once = [kind for at, kind in enumerate(first) if kind != "text_delta" or first[at - 1] != "text_delta"]
    squeezed = [kind for at, kind in enumerate(once) if kind != once[at - 1] or not kind.endswith("_delta")]
    assert [kind for kind in squeezed if kind != "notification"] == [
        *(
            "turn_start",
            "tool_call_start",
            "tool_call_args_delta",
            "tool_call_done",
            "usage",
            "tool_result",
            "turn_end",
        ),
        *("turn_start", "text_delta", "text_done", "usage", "turn_end", "run_end"),
    ]
    call = next(event for event in seen.events if isinstance(event, pod.ToolCallDone))
    assert "echo from-the-shell" in call.data.arguments
    pieces = [event.data.json_text for event in seen.events if isinstance(event, pod.ToolCallArgsDelta)]
    assert "".join(pieces) == call.data.arguments or "echo from-the-shell" in "".join(pieces)
    result = next(event for event in seen.events if isinstance(event, pod.ToolResult))
    assert "from-the-shell" in result.data.output and not result.data.is_error
    history = next(event for event in seen.events if isinstance(event, pod.History))
    assert history.data.greeting.provider == "anthropic"
    sources = {event.data.source for event in seen.events if isinstance(event, pod.NotificationEvent)}
    assert pod.Source.AGENTS_MD in sources


CODEX = WORLDS["codex"]


@pytest.mark.skipif(not CODEX.path.exists(), reason="the agent codex is missing: make codex")
async def test_an_agent_of_acp_brings_what_its_updates_have(
    inside: Inside, hive: FakeHive, tmp_path: Path, mcp: TinyMcp
) -> None:
    with FakeOpenAI() as api:
        lab = AcpLab("codex", tmp_path, api, mcp)
        inside.real = lab.make()
        async with inside.start():
            await poll(lambda: (inside.base / "pod.sock").exists())
            async with pod_client(inside.base / "pod.sock") as client:
                lab.script(Shell("echo from-the-shell"), Say("I ran it."))
                await drive(inside, client)
    run = client.kinds[: client.kinds.index("run_end") + 1]
    assert [kind for kind in run if kind not in ("text_delta", "notification")] == [
        *("turn_start", "tool_call_start", "tool_call_args_delta", "tool_call_done", "tool_result", "text_done"),
        *("usage", "turn_end", "run_end"),
    ]
