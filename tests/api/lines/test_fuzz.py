"""Whatever is sent to a socket: each line has one answer, nobody else notices, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import random
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.lines.connection import LineSplitter, TooLong
from meta.names import MANAGER, AgentName

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ALICE = AgentName("alice")
WHOAMI = b'{"cmd":"whoami"}\n'
STATUS = b'{"cmd":"status"}'
LINES = 200 if os.environ.get("HIVE_FULL") == "1" else 60
DROPS = 2000
"""Connections that are opened and dropped, to each socket."""
SPARE = 8
"""Descriptors that something may open once and keep: the store's readers."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
CMDS = ("send", "recent", "status", "answer", "ask", "remind", "cancel_loose_end", "list", "pending", "approve")
requests = st.builds(
    lambda cmd, more: json.dumps({**more, "cmd": cmd}).encode(),
    st.sampled_from(CMDS),
    st.dictionaries(
        st.sampled_from(("to", "body", "limit", "id", "kind", "question", "timing", "name")), json_values, max_size=4
    ),
)
odd = st.sampled_from(
    [
        b"[" * 3000,
        b'{"cmd":' * 500,
        b"9" * 4000,
        b'{"cmd":"recent","limit":' + b"9" * 3000 + b"}",
        b'{"cmd":"recent","limit":1e999999}',
        b'{"cmd":"status","x":' + b"[" * 126 + b"]" * 126 + b"}",
        b'{"cmd":"send","to":"alice","body":"\\ud800"}',
        b"\x00" * 50,
        b"\xff\xfe\xfd",
        b'"' + b"\\" * 999,
        b"x" * 5000,
        b"",
    ]
)
junk = st.lists(
    st.binary(max_size=200).map(lambda data: data.replace(b"\n", b" ")) | requests | odd, min_size=1, max_size=12
)


@pytest.mark.parametrize("agent", [ALICE, MANAGER, None], ids=["agent", "manager", "host"])
async def test_every_line_has_one_answer_whatever_it_is(host: Hive, agent: AgentName | None) -> None:
    drawn: list[list[bytes]] = []

    @settings(
        max_examples=LINES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(junk)
    def draw(lines: list[bytes]) -> None:
        drawn.append(lines)

    draw()
    path = host.layout.mcp_socket(agent) if agent is not None else host.layout.host_socket
    last = WHOAMI if agent is not None else b'{"cmd":"list"}\n'
    for lines in drawn:
        answers = await host.lines(path, *(line + b"\n" for line in lines), last)
        assert len(answers) == len(lines) + 1, lines
        for answer in answers:
            assert isinstance(json.loads(answer), dict)
        good = json.loads(answers[-1])
        assert good.get("name") == agent or good.get("ok"), lines


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_where_the_stream_is_cut_makes_no_difference(data: bytes, cuts: list[int], limit: int) -> None:
    def split(parts: list[bytes]) -> list[bytes | TooLong]:
        splitter = LineSplitter(limit)
        return [line for part in parts for line in splitter.feed(part)]

    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert split([data[a:b] for a, b in itertools.pairwise(places)]) == split([data])


async def test_thousands_of_connections_that_come_and_go_leave_nothing_and_hold_up_nobody(
    host: Hive, caplog: pytest.LogCaptureFixture
) -> None:
    """Half lines, requests whose answer nobody waits for, and nothing at all; the others are answered meanwhile."""
    source = random.Random(7)
    paths = [host.layout.mcp_socket(ALICE), host.layout.host_socket]
    await host.lines(host.layout.mcp_socket(MANAGER), WHOAMI)
    tasks, files, memory = len(asyncio.all_tasks()), _descriptors(), _memory()
    for number in range(DROPS):
        for path in paths:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.send(
                    source.choice([b"", STATUS[:7], STATUS + b"\n", b'{"cmd":"recv"}\n', b"\xff" * 300, b"\n" * 9])
                )
        if number % 20 == 0:
            async with asyncio.timeout(5):
                (answer,) = await host.lines(host.layout.mcp_socket(MANAGER), WHOAMI)
            assert json.loads(answer)["name"] == "manager"
    await host.lines(host.layout.mcp_socket(MANAGER), WHOAMI)  # until the last ones are accepted too
    async with asyncio.timeout(20):
        while len(asyncio.all_tasks()) > tasks or _descriptors() > files + SPARE:
            await asyncio.sleep(0)
    gc.collect()
    assert _memory() - memory < 40
    assert not caplog.messages, "a peer that leaves must not fill the daemon's log"
    (answer,) = await host.lines(host.layout.mcp_socket(ALICE), WHOAMI)
    assert json.loads(answer)["name"] == "alice"


async def test_more_connections_than_a_socket_takes_are_told_so_and_other_sockets_go_on(host: Hive) -> None:
    held = []
    try:
        for _ in range(400):
            sock = socket.socket(socket.AF_UNIX)
            held.append(sock)
            sock.connect(str(host.layout.mcp_socket(ALICE)))
            await asyncio.sleep(0)
        (answer,) = await host.lines(host.layout.mcp_socket(MANAGER), WHOAMI)
        assert json.loads(answer)["name"] == "manager"
        (refused,) = await host.lines(host.layout.mcp_socket(ALICE))
        assert "too many connections" in json.loads(refused)["message"]
    finally:
        for sock in held:
            sock.close()
    async with asyncio.timeout(20):
        while b'"alice"' not in b"".join(await host.lines(host.layout.mcp_socket(ALICE), WHOAMI)):
            await asyncio.sleep(0)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _memory() -> float:
    """MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6
