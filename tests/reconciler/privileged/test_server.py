"""The socket: who may speak, and that no bytes, sizes, speeds or numbers of connections end or fool the server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meta.errors import BadInput, Refused, TransientError
from meta.names import AgentName
from reconciler.privileged.client import CallDeadlines, Client
from reconciler.privileged.journal import Journal
from reconciler.privileged.protocol import LINE_LIMIT, Destroy, Request, Start, decode, encode
from reconciler.privileged.server import Rules, Server
from reconciler.privileged.values import Bounds

ALICE = AgentName("alice")
WAIT = 10.0


class Running:
    """A server in a thread; `done` records what reached the verbs."""

    def __init__(self, path: Path, rules: Rules, perform: Callable[[Request], Mapping[str, object]] | None) -> None:
        self.path = path
        self.done: list[Request] = []
        self.journal = io.StringIO()
        self._perform = perform
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(64)
        self.server = Server(listener, self._record, rules, Journal(self.journal))
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def _record(self, request: Request) -> Mapping[str, object]:
        self.done.append(request)
        return self._perform(request) if self._perform is not None else {}

    def connect(self) -> socket.socket:
        """A client that gives up after a while."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(str(self.path))  # blocking: with a timeout a full backlog would be an error
        except OSError:
            client.close()
            raise
        client.settimeout(WAIT)
        return client

    def ask(self, data: bytes) -> list[dict[str, object]]:
        """Send everything, close this direction, and read all answers."""
        with self.connect() as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # turned away in the middle; the answer is there
            return answers(client)

    def events(self, event: str) -> list[dict[str, object]]:
        """What the journal says about an event."""
        found = [json.loads(line) for line in self.journal.getvalue().splitlines()]
        return [entry for entry in found if entry["event"] == event]


def answers(client: socket.socket) -> list[dict[str, object]]:
    """All answers until the server closes."""
    data = b""
    try:
        while chunk := client.recv(65536):
            data += chunk
    except ConnectionError:
        pass  # closed with unread bytes of ours: what was said before that counts
    return [json.loads(line) for line in data.splitlines()]


@contextmanager
def serving(
    path: Path, rules: Rules | None = None, perform: Callable[[Request], Mapping[str, object]] | None = None
) -> Iterator[Running]:
    """A running server; it must end when told to, with every thread."""
    running = Running(path, rules or Rules(uid=os.getuid(), idle=WAIT), perform)
    try:
        yield running
    finally:
        running.server.stop()
        running.thread.join(WAIT)
        assert not running.thread.is_alive()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all the fuzzing: it must live through everything."""
    with serving(tmp_path_factory.mktemp("server") / "socket") as found:
        yield found
        assert found.ask(encode(Start(ALICE))) == [{"ok": True}]


@given(st.binary(max_size=400))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_get_an_error_per_line_and_have_no_effect(running: Running, data: bytes) -> None:
    running.done.clear()
    found = running.ask(data)
    assert len(found) == data.count(b"\n")
    assert all(answer["ok"] is False and answer["kind"] == "bad-input" for answer in found)
    assert running.done == []


def test_mutated_requests_do_only_what_they_exactly_say(running: Running) -> None:
    random_ = random.Random(7)
    running.done.clear()
    expected = 0
    for _ in range(300):
        line = bytearray(encode(Destroy(ALICE)))
        for _ in range(random_.randint(0, 2)):
            line[random_.randrange(len(line) - 1)] = random_.choice(b'{}[]":,\\ \x00aeilc\x80')
        answer = running.ask(bytes(line))[0]
        try:
            decode(bytes(line), Bounds())
            expected += 1
            assert answer["ok"] is True
        except BadInput:
            assert answer["ok"] is False
    assert len(running.done) == expected > 0


def test_a_half_line_is_not_a_request(running: Running) -> None:
    running.done.clear()
    assert running.ask(encode(Start(ALICE))[:-1]) == []
    assert running.done == []


def test_several_requests_on_a_connection_are_answered_in_order(running: Running) -> None:
    found = running.ask(encode(Start(ALICE)) + b"nonsense\n" + encode(Start(ALICE)))
    assert [answer["ok"] for answer in found] == [True, False, True]


@pytest.mark.parametrize("size", [LINE_LIMIT, LINE_LIMIT + 1, 40 * LINE_LIMIT])
def test_a_huge_line_ends_its_connection_and_nothing_else(running: Running, size: int) -> None:
    running.done.clear()
    found = running.ask(b"x" * size + b"\n" + encode(Start(ALICE)))
    assert len(found) <= 1  # the rest of the line may be lost with the connection, and the answer with it
    assert all("65536 bytes" in str(answer["error"]) for answer in found)
    assert running.done == []


def test_connections_that_come_and_go_cost_nothing(running: Running) -> None:
    random_ = random.Random(11)
    for _ in range(200):
        with running.connect() as client:
            try:
                client.sendall(random_.randbytes(random_.randrange(50)))
            except OSError:
                continue
    # slots come back as the threads notice that their peer went; the next one may be a moment too early
    for _ in range(1000):
        if running.ask(encode(Start(ALICE))) == [{"ok": True}]:
            return
    pytest.fail("no slot came back")


def test_a_refusal_is_one_line_in_the_journal(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as running:
        running.ask(b'{"verb":"start","name":"a\\n{\\"event\\":\\"done\\"}"}\n')
        (entry,) = running.events("refused")
    assert (entry["peer_uid"], entry["peer_pid"]) == (os.getuid(), os.getpid())
    assert "no agent name" in str(entry["error"])
    assert running.events("done") == []


def test_what_was_done_is_in_the_journal(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as running:
        running.ask(encode(Start(ALICE)))
        (entry,) = running.events("done")
    assert (entry["verb"], entry["name"]) == ("start", "alice")


def test_another_uid_is_turned_away_before_it_is_read(tmp_path: Path) -> None:
    with serving(tmp_path / "s", Rules(uid=os.getuid() + 1)) as running:
        with running.connect() as client:
            (answer,) = answers(client)
        assert running.ask(encode(Start(ALICE)))[0]["kind"] == "refused"
    assert (answer["ok"], answer["kind"]) == (False, "refused")
    assert running.done == []
    assert len(running.events("refused")) == 2


def test_who_sends_too_slowly_loses_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path / "s", Rules(uid=os.getuid(), idle=0.05)) as running, running.connect() as client:
        client.sendall(b'{"verb":')
        assert answers(client) == []
    assert running.done == []


def test_one_connection_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    rules = Rules(uid=os.getuid(), connections=2, idle=WAIT)
    with serving(tmp_path / "s", rules) as running, running.connect() as first, running.connect() as second:
        for client in (first, second):
            client.sendall(b"\n")
            assert client.recv(4096)
        with running.connect() as third:
            (answer,) = answers(third)
        assert (answer["kind"], answer["retry_after"]) == ("transient", 1.0)
        first.sendall(encode(Start(ALICE)))
        assert json.loads(first.recv(4096)) == {"ok": True}


def test_a_peer_that_leaves_does_not_stop_what_it_asked_for(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def perform(request: Request) -> Mapping[str, object]:
        begun.set()
        assert go.wait(WAIT)
        return {}

    with serving(tmp_path / "s", perform=perform) as running:
        with running.connect() as client:
            client.sendall(encode(Start(ALICE)))
            assert begun.wait(WAIT)
        go.set()
    assert len(running.events("done")) == 1


def test_an_unforeseen_fault_of_the_system_is_an_answer(tmp_path: Path) -> None:
    def perform(request: Request) -> Mapping[str, object]:
        raise OSError(5, "Input/output error")

    with serving(tmp_path / "s", perform=perform) as running:
        (answer,) = running.ask(encode(Start(ALICE)))
    assert (answer["kind"], answer["error"]) == ("transient", "start of alice: Input/output error")


async def test_the_client_raises_what_the_helper_says(tmp_path: Path) -> None:
    def perform(request: Request) -> Mapping[str, object]:
        if isinstance(request, Start):
            raise Refused("not this hive's", "leave it")
        return {"lines": ["a"], "cursor": "s=1"}

    with serving(tmp_path / "s", perform=perform) as running:
        client = Client(running.path)
        with pytest.raises(Refused, match="not this hive's"):
            await client.start(ALICE)
        assert (await client.logs(ALICE, 5)).lines == ("a",)
        await client.stop(ALICE, 1.5)
        with pytest.raises(BadInput, match="uid_base"):
            await client.own_directory(ALICE, "state", 7)


async def test_the_client_is_patient_for_its_deadline_and_no_longer(tmp_path: Path) -> None:
    go = threading.Event()

    def perform(request: Request) -> Mapping[str, object]:
        go.wait(WAIT)
        return {}

    with serving(tmp_path / "s", perform=perform) as running:
        client = Client(running.path, CallDeadlines(start=0.05))
        with pytest.raises(TransientError, match=r"within 0\.05 s"):
            await client.start(ALICE)
        go.set()


async def test_the_client_gets_the_reason_even_when_it_was_turned_away_unread(tmp_path: Path) -> None:
    with serving(tmp_path / "s", Rules(uid=os.getuid() + 1)) as running:
        for _ in range(100):
            with pytest.raises(Refused, match="may not ask"):
                await Client(running.path).start(ALICE)


async def test_no_helper_is_transient(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be reached"):
        await Client(tmp_path / "none").start(ALICE)


@pytest.mark.parametrize("answer", [b"", b'{"ok":true}', b"nonsense\n", b"x" * 600_000])
async def test_a_helper_that_talks_nonsense_is_transient(tmp_path: Path, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(talk, tmp_path / "s"):
        with pytest.raises(TransientError, match="answer"):
            await Client(tmp_path / "s").start(ALICE)
