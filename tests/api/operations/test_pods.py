"""The operations on pods, and `hive pod`, against sockets in an agent's folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from api.operations import pods as operations
from api.operations.pods import OnePod, pod_sse
from meta.names import AgentName
from meta.wire.link import PodInfo, Pods
from reconciler.pods.client import PodClient
from tests.api.http.test_app import ME
from tests.support.fake_pod import FakePod, fake_pod, line
from tests.support.link_peer import connect

if TYPE_CHECKING:
    from tests.api.conftest import Hive
ALICE = AgentName("alice")
TREE = (
    PodInfo(name="alice", state="running", turn=2, scope="/state/work"),
    PodInfo(name="child", parent="alice", state="waiting", scope="/state/work/a"),
    PodInfo(name="other", parent="alice", state="idle", turn=1, result="finished", ended=1.0),
    PodInfo(name="grandchild", parent="child", state="paused"),
)


@pytest.fixture
async def child(hive: Hive) -> AsyncIterator[FakePod]:
    async with fake_pod(hive.layout.pods(ALICE) / "child.sock") as made:
        yield made


def know(hive: Hive) -> None:
    links = hive.fake.links
    links.pods(ALICE, connect(links), Pods(pods=TREE))


async def test_the_pods_of_an_agent_are_listed_as_a_tree(hive: Hive) -> None:
    _, out, _ = await hive.hive("pod", "list", "alice")
    assert out == "no pods: its harness is not connected, or older\n"
    know(hive)
    _, out, _ = await hive.hive("pod", "list", "alice")
    names = [row.split()[0] for row in out.splitlines()[1:]]
    assert names == ["alice", "alice/child", "alice/grandchild", "alice/other"]
    assert "waits for its scope" in out
    assert "turn 1 finished" in out
    _, out, _ = await hive.hive("pod", "list", "alice", "--json")
    assert [pod["name"] for pod in json.loads(out)] == ["alice", "child", "other", "grandchild"]
    code, _, err = await hive.hive("pod", "list", "nobody")
    assert (code, "there is no agent nobody" in err) == (3, True)


async def test_each_method_reaches_the_pod_and_is_answered(hive: Hive, child: FakePod) -> None:
    for method in ("pause", "resume", "cancel", "shutdown"):
        code, out, _ = await hive.hive("pod", method, "alice/child")
        assert (code, out.startswith("alice/child ")) == (0, True)
    await hive.hive("pod", "run", "alice/child", "write tests")
    _, out, _ = await hive.hive("pod", "notify", "alice/child", "main moved", "--json")
    assert json.loads(out) == {"agent": "alice", "pod": "child", "accepted": "notify"}
    assert child.asked == [
        {"method": "pause"},
        {"method": "resume"},
        {"method": "cancel"},
        {"method": "shutdown"},
        {"method": "run", "params": {"input": "write tests"}},
        {"method": "notify", "params": {"message": "main moved"}},
    ]


async def test_the_shutdown_of_an_agents_own_pod_is_the_operators_stop(hive: Hive) -> None:
    assert (await hive.hive("pod", "shutdown", "alice"))[0] == 0
    assert hive.fake.calls == [("stop", "alice", ME, False)]


async def test_a_pod_that_is_none_or_refuses_or_needs_a_text_is_an_error_that_says_so(
    hive: Hive, child: FakePod
) -> None:
    assert (await hive.hive("pod", "pause", "alice"))[0] == 3
    for name in ("alice/", "alice/../../x", "alice/a b", "/child"):
        assert (await hive.hive("pod", "pause", name))[0] == 2, name
    data = {"code": "not_running", "message": "no run is under way"}
    child.reply = lambda asked: line({"event": "error", "data": data, "id": asked["id"]})
    code, _, err = await hive.hive("pod", "pause", "alice/child")
    assert (code != 0, "child refuses (not_running): no run is under way" in err) == (True, True)
    assert (await hive.hive("pod", "run", "alice/child", ""))[0] == 2


async def test_a_history_is_shown_safely(hive: Hive, child: FakePod) -> None:
    greeting = {"pod_name": "child", "cwd": "/x", "provider": "p", "model": "m", "scope_summary": "", "tools": ["a"]}
    items: list[Any] = [
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "\x1b[2Jho"}]},
        {"type": "tool_call", "name": "Bash", "arguments": "{}"},
        {"type": "tool_result", "output": "no\nway", "is_error": True},
        {"type": "message", "content": 7},
        7,
    ]
    child.reply = lambda asked: line(
        {"event": "history", "data": {"items": items, "greeting": greeting}, "id": asked["id"]}
    )
    code, out, _ = await hive.hive("pod", "history", "alice/child")
    assert code == 0
    assert out.splitlines()[-5:] == ["> hi", "\\u001b[2Jho", "-> Bash {}", "<- failed: no way", "> 7"]


async def test_the_events_are_streamed_until_the_pod_ends(
    hive: Hive, child: FakePod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "HEARTBEAT", 0.01)
    child.first = b"nonsense\n" + line({"event": "text_done", "data": {"text": "a\nb"}})
    pods = PodClient(hive.layout.pods)
    told = ""
    async with asyncio.timeout(10):
        async for text in pod_sse(pods, OnePod(agent=ALICE, pod="child"), asyncio.Event()):
            told += text
            if ":\n\n" in told and "text_done" in told:
                child.writers[0].close()
    assert told.startswith('event: ready\ndata: {"agent":"alice","pod":"child"}\n\n')
    assert 'event: pod\ndata: {"event":"text_done","data":{"text":"a\\nb"}}\n\n' in told
    assert told.endswith('event: end\ndata: {"reason":"the pod has ended"}\n\n')
    code, _, err = await hive.hive("pod", "events", "alice/none")
    assert (code != 0, "alice has no pod none" in err) == (True, True)


async def test_status_shows_the_pods_only_if_they_say_something(hive: Hive) -> None:
    from api.cli.render.status import pod_lines

    rows = [{"name": "alice", "parent": "", "state": "idle", "scope": "", "turn": 0, "result": "", "ended": None}]
    assert list(pod_lines({"pods": rows})) == []
    assert list(pod_lines({})) == []
    assert list(pod_lines({"pods": [{**rows[0], "state": "paused"}]})) == ["pod alice: paused"]
    rows.append({**rows[0], "name": "child", "parent": "alice", "state": "idle", "turn": 4, "result": "error"})
    assert list(pod_lines({"pods": rows}))[1] == "pod   child: idle, turn 4 failed"
