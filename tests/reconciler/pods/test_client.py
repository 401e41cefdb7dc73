"""The client of a pod's socket, against one that keeps to the protocol and against hostile ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.pod.pod import Refusal
from harness.pod.server import Clients, serve_pod
from meta.errors import BadInput, Conflict, HiveError, NotFound, TransientError
from meta.wire import pod
from reconciler.pods import client
from reconciler.pods.client import PodClient
from tests.support.fake_pod import GREETING, FakePod, accepts, fake_pod, line
from tests.support.link_peer import ALICE

RUN = pod.Run(params=pod.RunParams(input="hello"))


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[FakePod]:
    async with fake_pod(tmp_path / "pods" / "pod.sock") as made:
        yield made


@pytest.fixture
def pods(tmp_path: Path) -> PodClient:
    return PodClient(lambda _: tmp_path / "pods")


async def test_a_method_is_done_and_a_refusal_says_why(own: FakePod, pods: PodClient) -> None:
    assert await pods.do(ALICE, "alice", RUN) is None
    history = await pods.do(ALICE, "alice", pod.GetHistory())
    assert history is not None
    assert history.data.greeting.cwd == "/state/work"
    assert own.asked == [{"method": "run", "params": {"input": "hello"}}, {"method": "get_history"}]
    data = {"code": "already_running", "message": "a run\nis under way"}
    own.reply = lambda asked: line({"event": "error", "data": data, "id": asked["id"]})
    with pytest.raises(Conflict, match=r"already_running.*a run is under way"):
        await pods.do(ALICE, "alice", RUN)


async def test_what_is_for_others_is_no_answer(own: FakePod, pods: PodClient) -> None:
    other = line({"event": "error", "data": {"code": "internal", "message": "yours"}, "id": "other"})
    old = line({"event": "error", "data": {"code": "internal", "message": "of everybody"}})
    own.reply = lambda asked: other + old + b"nonsense\n" + accepts(asked)
    assert await pods.do(ALICE, "alice", RUN) is None


def _nested(asked: dict[str, Any]) -> bytes:
    id: str = asked["id"]
    return b'{"id":"' + id.encode() + b'","a":' + b"[" * 100_000 + b"\n"


@pytest.mark.parametrize(
    "reply",
    [
        lambda asked: b"",
        lambda asked: b"x" * 200_000,
        lambda asked: line({"event": "text_delta", "data": {"text": "x" * 900}}) * 300,
        lambda asked: line({"event": "history", "data": {"items": 1}, "id": asked["id"]}),
        _nested,
    ],
    ids=["silent", "endless line", "flood", "no history", "nested"],
)
async def test_a_hostile_pod_is_given_up(
    own: FakePod, pods: PodClient, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.2)
    monkeypatch.setattr(client, "LINE_BYTES", 128 * 1024)
    monkeypatch.setattr(client, "ANSWER_BYTES", 128 * 1024)
    own.reply = reply
    with pytest.raises(TransientError):
        await pods.do(ALICE, "alice", RUN)


async def test_a_watcher_gets_the_events_of_the_protocol_alone_and_the_end(own: FakePod, pods: PodClient) -> None:
    own.first = b'nonsense\n{"event":"melted"}\n' + line({"event": "text_done", "data": {"text": "a\x1bb"}})
    events = pods.follow(ALICE, "alice")
    async with asyncio.timeout(10):
        assert await anext(events) == pod.TextDone(data=pod.TextData(text="a\x1bb"))
        own.writers[0].close()
        assert [event async for event in events] == []


async def test_a_pod_of_lines_that_are_no_events_is_not_watched_for_ever(own: FakePod, pods: PodClient) -> None:
    own.first = b"nonsense\n" * 1000
    async with asyncio.timeout(10):
        assert [event async for event in pods.follow(ALICE, "alice")] == []


async def test_only_a_socket_in_the_agents_own_folder_is_reached(own: FakePod, pods: PodClient, tmp_path: Path) -> None:
    folder = tmp_path / "pods"
    async with fake_pod(tmp_path / "other" / "host.sock") as outside:
        (folder / "link.sock").symlink_to(outside.path)
        (folder / "file.sock").write_text("")
        (folder / "child.sock").hardlink_to(own.path)
        refused: list[tuple[str, type[HiveError]]] = [("link", Conflict), ("file", Conflict), ("none", NotFound)]
        refused += [("pod", NotFound), ("../other/host", BadInput), (".hidden", BadInput), ("", BadInput)]
        for name, kind in refused:
            with pytest.raises(kind):
                await pods.do(ALICE, name, RUN)
        assert await pods.do(ALICE, "child", RUN) is None
        folder.rename(tmp_path / "moved")
        folder.symlink_to(outside.path.parent)
        outside.path.rename(outside.path.parent / "pod.sock")
        with pytest.raises(NotFound):
            await pods.do(ALICE, "alice", RUN)
        assert outside.asked == []


async def test_more_watchers_than_the_bound_are_refused_and_places_are_given_back(
    own: FakePod, pods: PodClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "AT_ONCE", 1)
    own.first = line({"event": "text_done", "data": {"text": "a"}})
    events = pods.follow(ALICE, "alice")
    await anext(events)
    with pytest.raises(TransientError, match="connections"):
        await pods.do(ALICE, "alice", RUN)
    await events.aclose()
    assert await pods.do(ALICE, "alice", RUN) is None


async def test_the_client_and_the_socket_of_a_real_harness_understand_each_other(tmp_path: Path) -> None:
    asked: list[pod.Method] = []
    clients = Clients()

    async def do(method: pod.Method) -> Refusal | pod.History | None:
        asked.append(method)
        clients.emit(pod.TurnStart(data=pod.TurnStartData(turn=1)))
        if isinstance(method, pod.GetHistory):
            items = tuple({"type": "note", "text": "x" * 1000} for _ in range(500))
            return pod.History(data=pod.HistoryData(items=items, greeting=pod.Greeting.model_validate(GREETING)))
        return Refusal(pod.ErrorCode.NOT_PAUSED, "no run is paused") if isinstance(method, pod.Resume) else None

    async with asyncio.timeout(20), serve_pod(tmp_path, clients, do):
        pods = PodClient(lambda _: tmp_path)
        clients.emit(
            pod.NotificationEvent(
                data=pod.Notification(level=pod.Level.WARN, source=pod.Source.POD, message="before", timestamp_ms=1)
            )
        )
        events = pods.follow(ALICE, "alice")
        assert isinstance(await anext(events), pod.NotificationEvent)
        assert await pods.do(ALICE, "alice", RUN) is None
        assert isinstance(await anext(events), pod.TurnStart)
        with pytest.raises(Conflict, match="not_paused"):
            await pods.do(ALICE, "alice", pod.Resume())
        history = await pods.do(ALICE, "alice", pod.GetHistory())
        assert history is not None
        assert len(history.data.items) == 500
        await events.aclose()
    assert asked == [RUN, pod.Resume(), pod.GetHistory()]
