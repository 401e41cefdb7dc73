"""What `hive doctor` says about the daemon, its sockets and containers."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.upkeep.doctor.checks.base import Daemon, Subject, Verdict
from reconciler.upkeep.doctor.examine import failed
from tests.reconciler.upkeep.doctor.looks import ALICE, WELL, look, only


async def test_a_daemon_is_judged_by_what_it_holds_and_says(subject: Subject) -> None:
    here = replace(WELL, state=str(subject.layout.state))
    cases: list[tuple[bool, Daemon | None, Verdict, str]] = [
        (True, here, Verdict.OK, "backend fake"),
        (True, None, Verdict.FAIL, "does not answer"),
        (False, None, Verdict.WARN, "no daemon runs"),
        (False, here, Verdict.FAIL, "was it deleted?"),
        (True, replace(here, trouble="database: locked"), Verdict.FAIL, "database: locked"),
        (True, replace(here, state="/elsewhere"), Verdict.FAIL, "another state directory"),
    ]
    for subject.held, subject.daemon, verdict, text in cases:
        await only(subject, "daemon", verdict, text)


async def test_who_may_not_know_whether_a_daemon_runs_is_told_just_that(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.held = True
    real = os.access

    def access(path: Path, mode: int) -> bool:
        return path != subject.layout.lock and real(path, mode)

    monkeypatch.setattr(os, "access", access)
    await only(subject, "daemon", Verdict.WARN, "may not see")


@dataclass
class Listening:
    """Both operator's sockets, listening, and alice's."""

    sockets: list[socket.socket]

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.fixture
def listening(subject: Subject) -> Iterator[Listening]:
    layout = subject.layout
    agents = [
        path
        for name in (ALICE, AgentName("manager"))
        for path in (layout.mcp_socket(name), layout.harness_socket(name))
    ]
    found = Listening([])
    for path in (layout.host_socket, layout.http_socket, *agents):
        path.parent.mkdir(parents=True, exist_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        directory = os.open(path.parent, os.O_PATH)
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)
        path.chmod(0o660)
        sock.listen(8)
        found.sockets.append(sock)
    subject.held = True
    yield found
    found.close()


async def test_sockets_that_are_open_to_all_or_gone_fail(subject: Subject, listening: Listening) -> None:
    assert not failed(await look(subject, "sockets"))
    subject.layout.http_socket.chmod(0o666)
    await only(subject, "sockets", Verdict.FAIL, "every user of this host")
    subject.layout.http_socket.unlink()
    await only(subject, "sockets", Verdict.FAIL, "is missing")
    subject.layout.http_socket.touch()
    await only(subject, "sockets", Verdict.FAIL, "is not a socket")
    subject.layout.http_socket.unlink()
    subject.layout.mcp_socket(ALICE).unlink()
    assert "alice has no socket" in next(row.text for row in await look(subject, "sockets") if row.verdict == "warn")


async def test_sockets_of_a_dead_daemon_are_removed_and_not_those_of_a_living_one(
    subject: Subject, listening: Listening
) -> None:
    subject.held = False
    assert await look(subject, "sockets", fix=True)
    assert subject.layout.http_socket.exists()
    listening.close()
    rows = await look(subject, "sockets", fix=True)
    assert [row.fixed for row in rows] == [True, True, False]
    assert not subject.layout.http_socket.exists()
    assert subject.layout.mcp_socket(ALICE).exists()


async def test_containers_of_others_and_of_nobody_are_told(subject: Subject) -> None:
    owner = subject.layout.owner.read_text(encoding="ascii")
    folder = subject.layout.backend("local")
    for name, marker in (("bob", "another"), ("carol", owner), ("alice", owner)):
        (folder / name).mkdir(parents=True)
        (folder / name / "hive.json").write_text(json.dumps({"owner": marker}), encoding="ascii")
    rows = await look(subject, "containers")
    assert [(row.verdict, row.text.split(" has ")[0].split(" belongs ")[0]) for row in rows] == [
        (Verdict.FAIL, str(folder / "bob")),
        (Verdict.WARN, "a container carol"),
    ]
