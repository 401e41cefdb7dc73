"""A daemon without a free file descriptor: it says so in one line, and serves again when some are free."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from meta.errors import TransientError
from tests.support.lab import TICK, WAIT, Lab

pytestmark = pytest.mark.lab(backend="fake", settings={"HIVE_RESYNC": "0.5"})
IDLE = 90
LINE = "no file descriptor left"


def serves(lab: Lab) -> bool:
    with suppress(TransientError):
        return bool(lab.get("/healthz"))
    return False


def test_idle_connections_that_take_every_descriptor_cost_one_line_and_the_daemon_serves_again(lab: Lab) -> None:
    lab.post("/api/agents/alice/spawn")
    lab.until(lambda: lab.events("agent_spawned", "alice"))
    before = len(lab.log.read_text(encoding="utf-8"))
    soft, hard = resource.prlimit(lab.pid, resource.RLIMIT_NOFILE)
    with lab.client().events() as stream, ExitStack() as idle:
        few = sum(1 for _ in Path(f"/proc/{lab.pid}/fd").iterdir()) + 20
        resource.prlimit(lab.pid, resource.RLIMIT_NOFILE, (few, hard))
        for number in range(IDLE):
            peer = idle.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(str(lab.layout.host_socket if number % 2 else lab.layout.http_socket))
        for _ in range(int(WAIT / TICK)):
            if LINE in lab.log.read_text(encoding="utf-8")[before:]:
                break
            stream.next(TICK)
        for _ in range(8):  # servers try again meanwhile
            stream.next(TICK)
    lab.until(lambda: serves(lab))  # those that wait in the backlog are accepted first, though they have hung up
    assert lab.host(cmd="list")["ok"]
    said = lab.log.read_text(encoding="utf-8")[before:]
    assert said.count(LINE) == 1
    assert "Traceback" not in said
    assert "damaged" not in said and "Too many open files" not in said, said
    assert "is not as hive made it" not in str(lab.get("/api/status"))
    assert any(LINE in note for note in lab.get("/api/status")["notes"])
    resource.prlimit(lab.pid, resource.RLIMIT_NOFILE, (soft, hard))
