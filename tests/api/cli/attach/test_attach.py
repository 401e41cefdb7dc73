"""`hive attach` against a daemon that streams: in a pipe, on a terminal, and over restarts."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_live import LOG, FakeDaemon

ROOT = Path(__file__).parents[4]
WAIT = 20.0
THINKING = {"kind": "state", "state": "thinking", "since": 1.0}


def text(*pieces: str) -> dict[str, object]:
    return {"kind": "stream", "type": "x", "items": [{"type": "text_delta", "text": piece} for piece in pieces]}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    (tmp_path / "r").mkdir()
    (tmp_path / "s").mkdir()
    fake = FakeDaemon(tmp_path / "r" / "http.sock")
    fake.start()
    yield fake
    fake.stop()


def environment(daemon: FakeDaemon, **more: str) -> dict[str, str]:
    place = daemon.path.parent.parent
    where = {"HIVE_STATE": str(place / "s"), "HIVE_RUNTIME": str(place / "r")}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TZ": "UTC", **where, **more}


COMMAND = (sys.executable, "-m", "api.cli.main", "attach", "alice")


class Output:
    """What a program writes to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.text = ""

    def until(self, pattern: str) -> str:
        """Read until the pattern is there, and return all of it. What was read before is dropped the next time."""
        deadline = time.monotonic() + WAIT
        while (match := re.search(pattern, self.text)) is None:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, left))
            assert ready, f"{pattern!r} never came: {self.text!r}"
            data = os.read(self.descriptor, 65536)
            assert data, f"the output ended without {pattern!r}: {self.text!r}"
            self.text += data.decode(errors="replace")
        before, self.text = self.text[: match.end()], self.text[match.end() :]
        return before


@pytest.fixture
def piped(daemon: FakeDaemon) -> Iterator[tuple[subprocess.Popen[bytes], Output]]:
    process = subprocess.Popen(
        COMMAND, env=environment(daemon), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    daemon.wait_for_watchers()
    yield process, Output(process.stdout.fileno())
    process.kill()
    process.wait()
    process.stdout.close()


class Terminal(Output):
    """`hive attach` on a terminal of its own."""

    def __init__(self, daemon: FakeDaemon, *more: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 60))
        self.before = termios.tcgetattr(self.slave)
        super().__init__(self.master)
        self.process = subprocess.Popen(
            more or COMMAND,
            env=environment(daemon, TERM="xterm", NO_COLOR="1"),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal(daemon: FakeDaemon) -> Iterator[Terminal]:
    made = Terminal(daemon)
    made.until("alice> ")
    daemon.wait_for_watchers()
    yield made
    made.close()


def test_a_pipe_gets_plain_lines_with_hostile_text_escaped_and_goes_on_over_a_restart_of_the_daemon(
    daemon: FakeDaemon, piped: tuple[subprocess.Popen[bytes], Output]
) -> None:
    process, output = piped
    daemon.emit({"kind": "turn_start", "from": "bob\x1b]0;x\x07", "body": "hi\x1b[2J", "unread": 0, "turn": 1})
    daemon.emit(text("one\nt", "wo \x1b[2J\r"))
    daemon.emit({"kind": "stream", "items": [{"type": "text", "text": "one\ntwo \x1b[2J\r"}]})
    said = output.until(r"two \S+\n")
    assert said == "== turn 1, from bob\\u001b]0;x\\u0007\n   hi\\u001b[2J\none\ntwo \\u001b[2J\\u000d\n"
    assert "\x1b" not in said
    daemon.tell("agent_stopped", transient="restarting")
    assert output.until("again\n") == "-- hive: stopped, to start again\n"
    daemon.stop()
    assert "waiting for the daemon\n" in output.until("waiting for the daemon\n")
    daemon.events.append({"kind": "note", "text": "meanwhile"})
    daemon.start()
    assert output.until("meanwhile\n") == "-- the daemon answers again\nmeanwhile\n"
    assert daemon.resumed == ["", f"{LOG}-3".lower()]
    process.send_signal(signal.SIGINT)
    assert output.until("again\n") == "detached; alice goes on, `hive attach alice` shows it again\n"
    assert process.wait(WAIT) == 0


def test_events_that_come_again_after_a_gap_are_shown_once(
    daemon: FakeDaemon, piped: tuple[subprocess.Popen[bytes], Output]
) -> None:
    _, output = piped
    daemon.emit({"kind": "note", "text": "one"})
    daemon.send_raw(b'event: resync\ndata: {"reason": "slow"}\n\n')
    again = b'data: {"id": "log1-1", "ts": 1, "event": {"kind": "note", "text": "one"}}\n\n'
    daemon.send_raw(b"id: log1-1\nevent: live\n" + again)
    daemon.emit({"kind": "note", "text": "two"})
    assert output.until("two\n") == "one\n-- some events are missing here\ntwo\n"


def test_without_a_daemon_or_an_agent_it_fails_as_every_command(daemon: FakeDaemon) -> None:
    for words, code in (("nobody",), 1), (("alice", "-n", "0"), 2):
        ended = subprocess.run((*COMMAND[:-1], *words), env=environment(daemon), capture_output=True, timeout=WAIT)
        assert (ended.returncode, ended.stdout) == (code, b"")
        assert b"hive: " in ended.stderr
        assert b"detached" not in ended.stderr


def test_what_is_typed_stays_intact_while_output_comes_and_is_sent(daemon: FakeDaemon, terminal: Terminal) -> None:
    daemon.answers["/api/messages"] = (201, {"id": 12, "to": "alice"})
    terminal.type(b"look")
    terminal.until(r"alice> look")
    daemon.emit(THINKING)
    terminal.until(r"alice thinking> look")
    daemon.emit(text("The te"))
    terminal.until(r"The te\r\nalice thinking> look")
    daemon.emit(text("st fails.\n"))
    assert terminal.until(r"\x1b\[1A\r\x1b\[JThe test fails.\r\nalice thinking> look")
    terminal.type(b" there\r")
    terminal.until(r"> look there\r\nalice thinking> ")
    assert daemon.posts.get(timeout=WAIT) == ("/api/messages", {"to": "alice", "body": "look there"})
    terminal.until("message 12 waits in its inbox")


def test_orders_are_carried_out_and_a_failure_is_a_line(daemon: FakeDaemon, terminal: Terminal) -> None:
    pause = "/api/agents/alice/turn/pause"
    daemon.answers[pause] = (200, {"agent": "alice", "accepted": "pause", "text": "it takes no turn"})
    terminal.type(b"/pause\r")
    terminal.until("alice is paused: it takes no turn")
    assert daemon.posts.get(timeout=WAIT) == (pause, {})
    problem = {"type": "urn:hive:conflict", "title": "there is no \x1b[2J turn", "hint": "wait"}
    daemon.answers["/api/agents/alice/turn/cancel"] = (409, problem)
    terminal.type(b"/cancel\r")
    terminal.until(r"there is no \\u001b\[2J turn; wait")
    daemon.answers["/api/agents/alice/model"] = (200, {"agent": "alice", "accepted": "model", "text": "opus"})
    terminal.type(b"/model opus\r")
    terminal.until("alice has its model set: opus")
    assert daemon.posts.get(timeout=WAIT)[0].endswith("/cancel")
    assert daemon.posts.get(timeout=WAIT) == ("/api/agents/alice/model", {"name": "opus"})


def test_a_message_that_is_not_sent_comes_back_into_the_line(daemon: FakeDaemon, terminal: Terminal) -> None:
    daemon.stop()
    terminal.until("waiting for the daemon")
    terminal.type(b"hello\r")
    terminal.until(r"no daemon answers")
    terminal.until(r"alice> hello")
    daemon.start()
    terminal.until("the daemon answers again")
    daemon.answers["/api/messages"] = (201, {"id": 1, "to": "alice"})
    terminal.type(b"\r")
    assert daemon.posts.get(timeout=WAIT)[1] == {"to": "alice", "body": "hello"}


@pytest.mark.parametrize("keys", [b"\x03", b"\x04", b"/quit\r"])
def test_it_detaches_and_leaves_the_terminal_as_it_was(terminal: Terminal, keys: bytes) -> None:
    terminal.type(keys)
    terminal.until(r"detached; alice goes on, `hive attach alice` shows it again\r\n")
    assert terminal.process.wait(WAIT) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_signal_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(WAIT) == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_flood_is_shown_in_order_and_keys_are_read_meanwhile(daemon: FakeDaemon, terminal: Terminal) -> None:
    for number in range(3000):
        daemon.emit({"kind": "note", "text": f"n{number}"})
    terminal.type(b"typed")
    terminal.until(r"n2999\r\n")
    terminal.until(r"alice> typed")


def test_hostile_text_never_reaches_the_terminal_as_it_is(daemon: FakeDaemon, terminal: Terminal) -> None:
    daemon.emit({"kind": "state", "state": "parked", "since": 1.0, "reason": "\x1b]52;c;eA==\x07"})
    daemon.emit(text("a\x1b[8mhidden \u202e\x9b2J"))
    said = terminal.until(r"2J\r\nalice parked> ")
    own = re.sub(r"\x1b\[(\d*[AD]|J|\?2004h)", "", said)
    assert "\x1b" not in own
    assert "\u202e" not in own
    assert "\x9b" not in own


def test_a_sub_agent_is_watched_and_controlled_by_the_pod_protocol(daemon: FakeDaemon) -> None:
    terminal = Terminal(daemon, *COMMAND[:-1], "alice/child")
    try:
        terminal.until("alice/child> ")
        path = "/api/agents/alice/pods/child"
        daemon.answers |= {f"{path}/{verb}": (200, {"accepted": verb}) for verb in ("run", "notify", "pause")}
        daemon.answers["/api/agents/alice/pods"] = (200, [])
        daemon.tell_of_child("pod", {"event": "text_delta", "data": {"text": "wri\x1b[2J"}})
        terminal.until(r"wri\\u001b\[2J")
        daemon.tell_of_child("pod", {"event": "text_done", "data": {"text": "written\x1b[2J"}})
        terminal.until(r"written\\u001b\[2J")
        for typed in (b"go on\r", b"/notify main  moved\r", b"/pause\r"):
            terminal.type(typed)
            terminal.until("accepted")
        assert [daemon.posts.get(timeout=10) for _ in range(3)] == [
            (f"{path}/run", {"text": "go on"}),
            (f"{path}/notify", {"text": "main  moved"}),
            (f"{path}/pause", {}),
        ]
        terminal.type(b"/pods\r")
        terminal.until("tells of no pods")
        terminal.type(b"/compact\r")
        terminal.until("this is no order")
        daemon.tell_of_child("end", {"reason": "the pod has ended"})
        terminal.until("the pod has ended")
        assert terminal.process.wait(10) != 0
    finally:
        terminal.close()
