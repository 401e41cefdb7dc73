"""`hive backup` reports a daemon that dies meanwhile as every other command does, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Unreachable
from api.cli.client.http import Client
from api.cli.client.paths import Where
from api.cli.commands.backup import backup
from meta.errors import HiveError

CUT_OFF = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"


class DyingDaemon:
    """A daemon that reads a request or not, sends `answer` and closes each connection."""

    def __init__(self, where: Where, *, reads: bool, answer: bytes) -> None:
        self._reads = reads
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(where.http))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> DyingDaemon:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                # bytes that a closed connection never read reset it
                connection.recv(65_536 if self._reads else 1)
                connection.sendall(self._answer)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    (tmp_path / "r").mkdir()
    return Client(Where(tmp_path / "s", tmp_path / "r"))


def error_of(call: Callable[[], object]) -> tuple[type[HiveError], str, str]:
    with pytest.raises(HiveError) as caught:
        call()
    return type(caught.value), caught.value.summary, caught.value.hint


@pytest.mark.parametrize(
    ("reads", "answer", "summary"),
    [(False, b"", "closed the connection: "), (True, b"", "without an answer"), (True, CUT_OFF, "was cut off")],
    ids=["reset", "no answer", "half an answer"],
)
def test_a_daemon_that_dies_meanwhile_is_the_error_of_every_other_command(
    client: Client, tmp_path: Path, reads: bool, answer: bytes, summary: str
) -> None:
    with DyingDaemon(client.where, reads=reads, answer=answer):
        error = error_of(lambda: backup(client, "b.tar"))
        assert error == error_of(lambda: client.post("/api/backup"))
    assert error[0] is Unreachable
    assert summary in error[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "s"]
