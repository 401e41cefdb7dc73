"""The agents' sockets: there whenever their directory is."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.egress.sockets import AgentSockets
from tests.reconciler.egress.lab import ALICE, BOB, Lab


async def test_a_directory_that_comes_later_gets_its_socket(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    shutil.rmtree(way_out.folder())
    await way_out.server.tick()
    missing = way_out.report().problem

    way_out.folder()
    await way_out.server.tick()

    assert missing == f"{way_out.folder()} is not there: it is made when the agent starts"
    assert way_out.report().problem == ""
    assert "200" in await way_out.status(target)


async def test_a_directory_that_was_made_anew_gets_a_new_socket(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    way_out.folder().rename(way_out.options.sockets / "old")

    way_out.folder()
    await way_out.server.tick()

    assert "200" in await way_out.status(target)
    writer.write(b"the old tunnel goes on")
    assert await reader.readexactly(22) == b"the old tunnel goes on"


async def test_a_socket_that_is_gone_is_bound_again(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    (way_out.folder() / "egress.sock").unlink()

    await way_out.server.tick()

    assert "200" in await way_out.status(target)


async def test_a_stale_socket_is_replaced_and_open_to_all_who_may_enter(way_out: Lab) -> None:
    (way_out.folder() / "egress.sock").write_text("left by a process that died")

    await way_out.push()

    mode = (way_out.folder() / "egress.sock").stat().st_mode
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o666)
    assert [path.name for path in way_out.folder().iterdir()] == ["egress.sock"]


async def test_a_link_in_the_place_of_a_directory_is_not_followed(way_out: Lab, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (way_out.options.sockets / ALICE).symlink_to(elsewhere)

    await way_out.push()

    assert "no socket in" in way_out.report().problem
    assert list(elsewhere.iterdir()) == []


async def test_a_directory_that_cannot_be_entered_is_a_problem_of_its_agent_only(tmp_path: Path) -> None:
    def deny(path: object, *rest: object, **options: object) -> int:
        if str(path).endswith(ALICE):
            raise PermissionError(13, "Permission denied")
        return os_open(path, *rest, **options)  # type: ignore[arg-type]

    os_open = os.open
    for agent in (ALICE, BOB):
        (tmp_path / agent).mkdir()
    sockets = AgentSockets(tmp_path, lambda agent, client: client.close())
    try:
        os.open = deny
        sockets.serve([ALICE, BOB])
    finally:
        os.open = os_open
        sockets.close()

    assert sockets.problems == {ALICE: f"{tmp_path / ALICE} is closed to hive-egress: it must be able to write there"}


async def test_connections_beyond_an_agents_pace_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.egress.sockets.ACCEPTS_AT_ONCE", 3.0)
    monkeypatch.setattr("reconciler.egress.sockets.ACCEPTS_PER_SECOND", 20.0)
    accepted: list[float] = []
    four = asyncio.Event()

    def accept(agent: AgentName, client: socket.socket) -> None:
        client.close()
        accepted.append(asyncio.get_running_loop().time())
        if len(accepted) == 4:
            four.set()

    (tmp_path / ALICE).mkdir()
    sockets = AgentSockets(tmp_path, accept)
    sockets.serve([ALICE])
    clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for client in clients:
        client.connect(str(tmp_path / ALICE / "egress.sock"))
    await four.wait()

    assert accepted[3] - accepted[0] > 0.03
    sockets.close()
    for client in clients:
        client.close()


async def test_a_long_path_is_no_problem(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    (folder / ALICE).mkdir(parents=True)
    sockets = AgentSockets(folder, lambda agent, client: client.close())

    sockets.serve([ALICE])

    assert sockets.problems == {}
    assert (folder / ALICE / "egress.sock").is_socket()
    sockets.close()
    assert not (folder / ALICE / "egress.sock").exists()
