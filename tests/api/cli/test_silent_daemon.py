"""A daemon that is stopped, or hangs: every command ends in time, says so, and names the remedy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.client import http
from api.cli.client.exit_codes import Code, NoAnswer, Unreachable
from api.cli.client.http import Client, Stream
from api.cli.client.paths import Where
from api.cli.commands.man import leaves
from api.cli.main import execute, parser
from tests.api.cli.words import words_of

ALONE = {"man", "wire canonical", "serve", "audit", "restore", "cp", "install-service"}
"""Commands that ask no daemon."""


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Where]:
    """A socket at which nothing is ever accepted: the kernel takes connections for a process under SIGSTOP."""
    monkeypatch.chdir(tmp_path)
    where = Where(tmp_path / ".hive", tmp_path / ".hive" / "run")
    where.runtime.mkdir(parents=True)
    for name in ("HIVE_STATE", "HIVE_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PROBE_AFTER", "PROBE_DEADLINE"):
        monkeypatch.setattr(http, name, 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where.http))
        listener.listen(1024)
        yield where


def test_every_command_ends_and_says_that_the_daemon_does_not_answer(
    silent: Where, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = parser()
    monkeypatch.setattr("api.cli.main.parser", lambda: group)
    for leaf in leaves(group):
        if leaf.name in ALONE:
            continue
        more = ["--yes"] if any("--yes" in param.opts for param in leaf.command.params) else []
        words = [*words_of(leaf), *more]
        if leaf.name == "backup":
            words = ["backup", str(silent.state / "x.tar")]
        began = time.monotonic()
        code = execute(words)
        out, err = capsys.readouterr()
        if leaf.name == "doctor":
            assert (code, "does not answer" in out) == (Code.FAILED, True)
            continue
        assert code == Code.TIMEOUT, (words, out, err)
        assert err.startswith(f"hive: the daemon at {silent.http} does not answer\n  try: "), words
        assert err.endswith("see its log; if it hangs, restart it: agents keep running\n"), words
        assert time.monotonic() - began < 5, words


@pytest.mark.parametrize(
    ("words", "look"),
    [
        ("send alice hi", "hive status"),
        ("ask alice which?", "hive questions"),
        ("stop alice", "hive status"),
        ("deny 5", "hive events"),
        ("rebase 3", "hive events"),
        ("inbox", ""),
    ],
)
def test_a_command_that_may_still_be_done_says_so(
    silent: Where, words: str, look: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words.split()) == Code.TIMEOUT
    err = capsys.readouterr().err
    assert ("hive may still do it" in err) == bool(look)
    assert f"`{look}`" in err or not look


def test_so_does_one_whose_daemon_ends_before_the_answer(tmp_path: Path) -> None:
    where = Where(tmp_path, tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where.http))
        listener.listen()

        def end() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(Unreachable) as caught:
            Client(where).post("/api/proposals/5/deny")
        thread.join(10)
    assert "hive may still do it" in caught.value.hint


@pytest.mark.parametrize("words", ["events -f", "status --watch", "logs alice -f", "approve 1 --wait", "plan alice"])
def test_so_does_every_command_that_follows(silent: Where, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words.split()) == Code.TIMEOUT
    assert "does not answer" in capsys.readouterr().err


def test_a_slow_answer_is_waited_for_while_the_daemon_answers_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PROBE_AFTER", 0.02)
    where = Where(tmp_path, tmp_path)
    probed = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where.http))
        listener.listen()

        def serve() -> None:
            slow, _ = listener.accept()
            with slow:
                probe, _ = listener.accept()
                with probe:
                    assert http.PROBE.encode() in probe.recv(4096)
                    probe.sendall(b"HTTP/1.0 200 OK\r\n\r\n[]")
                probed.set()
                slow.recv(4096)
                slow.sendall(b"HTTP/1.0 200 OK\r\n\r\n[]")

        thread = threading.Thread(target=serve)
        thread.start()
        assert Client(where).get("/api/proposals") == []
        thread.join(10)
    assert probed.is_set()


def test_a_stream_without_a_sign_of_life_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENCE", 0.0)
    ours, theirs = socket.socketpair()
    with theirs, Stream(ours, b"") as stream, pytest.raises(NoAnswer):
        stream.next(0.01)
