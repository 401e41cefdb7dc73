"""A CLI behind the starter: it acts as one that the harness starts itself. Plain processes, one uid."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from harness import child as module
from harness.child import Child, Line, start_child
from harness.scope.bounds import Bounds, decode_bounds
from harness.scope.plan import Needs
from harness.starter.planned import CannotHold, planned
from harness.starter.program import find
from harness.starter.wire import MARK, Order, Wrong, decode_order, receive_order
from meta.errors import BadInput, PermanentError, Refused, TransientError
from meta.process.landlock import HOLDS, abi
from meta.scope.rules import Rule, Scope
from meta.wire.pod import Permission
from tests.harness.starter.in_place_of_systemd import starter

ENV = {"PATH": os.environ["PATH"]}
Starters = list[subprocess.Popen[bytes]]


@pytest_asyncio.fixture
async def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Starters]:
    async with starter(tmp_path, CREDENTIALS_DIRECTORY="/run/credentials/x", HARNESS_ONLY="secret") as (
        path,
        processes,
    ):
        monkeypatch.setenv(module.STARTER, str(path))
        yield processes


@asynccontextmanager
async def shell(script: str) -> AsyncIterator[Child]:
    child = await start_child(["bash", "-c", script], ENV, Path("/"))
    try:
        yield child
    finally:
        await child.end(((signal.SIGTERM, 0.2),))


async def first(child: Child) -> str:
    line = await child.line()
    assert line is not None
    return line.data.decode()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_cli_reads_writes_and_ends_as_if_the_harness_had_started_it(started: Starters) -> None:
    async with shell("read line; echo got $line; echo trouble >&2; exit 7") as child:
        assert child.running
        assert child.write(b"this\n")
        assert [line async for line in child.lines()] == [Line(b"got this")]
        assert await child.wait() == 7
        assert not child.running
    assert child.stderr == "trouble"
    assert len(started) == 1


async def test_it_gets_the_environment_of_the_order_and_the_credentials_of_its_unit_alone(started: Starters) -> None:
    child = await start_child(["env"], {**ENV, "OWN": "1"}, Path("/"))
    lines = {line.data.decode() async for line in child.lines()}
    await child.end()
    assert lines == {f"PATH={ENV['PATH']}", "OWN=1", "CREDENTIALS_DIRECTORY=/run/credentials/x"}


async def test_it_runs_in_the_folder_of_the_order_and_leads_a_session(started: Starters, tmp_path: Path) -> None:
    child = await start_child(["bash", "-c", "pwd; echo $$; cut -d' ' -f6 /proc/self/stat"], ENV, tmp_path)
    assert [line.data.decode() async for line in child.lines()] == [str(tmp_path), str(child.pid), str(child.pid)]
    await child.end()


async def test_it_can_open_its_streams_by_name(started: Starters) -> None:
    async with shell("echo by name >/dev/stderr; cat </dev/stdin >/dev/stdout") as child:
        child.write(b"text\n")
        child.close_stdin()
        assert await first(child) == "text"
        assert await child.wait() == 0
    assert child.stderr == "by name"


@pytest.mark.parametrize("umask", [0o077])
async def test_its_streams_are_open_to_another_uid(started: Starters, umask: int) -> None:
    before = os.umask(umask)
    try:
        async with shell("stat -L -c %a /dev/fd/0 /dev/fd/1; stat -L -c %a /dev/fd/2") as child:
            assert [line.data async for line in child.lines()] == [b"666"] * 3
    finally:
        os.umask(before)


async def test_signals_reach_it_and_one_that_kills_it_is_its_exit_code(started: Starters) -> None:
    async with shell("trap 'echo interrupted' INT; echo ready; while :; do read -t 60; done") as child:
        assert await first(child) == "ready"
        child.send_signal(signal.SIGINT)
        assert await first(child) == "interrupted"
        child.send_signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        child.send_signal(signal.SIGINT)


async def test_end_ends_it_and_its_starter_with_the_ladder(started: Starters) -> None:
    child = await start_child(["bash", "-c", "trap '' TERM; echo ready; while :; do read -t 60; done"], ENV, Path("/"))
    assert await first(child) == "ready"
    assert await child.end(((signal.SIGTERM, 0.1),)) == -signal.SIGKILL
    assert await asyncio.to_thread(started[0].wait, 5) == 0
    assert not alive(child.pid)


async def test_a_starter_that_is_killed_ends_the_cli_for_the_harness(started: Starters) -> None:
    async with shell("echo ready; sleep 60") as child:
        assert await first(child) == "ready"
        started[0].kill()
        assert await child.wait() == -signal.SIGKILL
        os.killpg(child.pid, signal.SIGKILL)  # systemd does this


def test_a_process_of_the_same_uid_cannot_trace_a_starter_nor_open_its_descriptors() -> None:
    code = "from harness.starter.program import close_to_ptrace as close; import ctypes; close()"
    code += "; print(ctypes.CDLL(None).prctl(3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "0"  # PR_GET_DUMPABLE


async def test_a_missing_program_a_missing_folder_and_a_nul_are_errors_with_a_reason(started: Starters) -> None:
    with pytest.raises(PermanentError, match="no-such-cli is not installed"):
        await start_child(["no-such-cli"], ENV, Path("/"))
    with pytest.raises(PermanentError, match=r"in /no/such/folder: No such file"):
        await start_child(["bash"], ENV, Path("/no/such/folder"))
    with pytest.raises(PermanentError, match="arguments or its environment"):
        await start_child(["bash", "a\0b"], ENV, Path("/"))
    with pytest.raises(PermanentError, match="arguments or its environment"):
        await start_child(["bash", "\ud800"], ENV, Path("/"))
    with pytest.raises(PermanentError, match="arguments or its environment"):
        await start_child(["bash", "x" * 5_000_000], ENV, Path("/"))
    with pytest.raises(PermanentError, match="Argument list too long"):
        await start_child(["bash", "x" * 3_000_000], ENV, Path("/"))


async def test_no_descriptor_is_left_behind(started: Starters) -> None:
    async with shell("true") as child:
        await child.wait()
    before = descriptors()
    for _ in range(3):
        async with shell("true") as child:
            await child.wait()
        with pytest.raises(PermanentError):
            await start_child(["no-such-cli"], ENV, Path("/"))
    assert descriptors() == before


async def test_without_a_starter_the_start_fails_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.STARTER, str(tmp_path / "none.sock"))
    with pytest.raises(TransientError, match="cannot be reached"):
        await start_child(["bash"], ENV, Path("/"))


@pytest.mark.parametrize("words", [b"", b"no json\n", b'{"pid": 1', b"x" * 20_000])
async def test_a_starter_that_says_something_else_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(words)
        writer.close()

    path = tmp_path / "starter.sock"
    monkeypatch.setenv(module.STARTER, str(path))
    async with await asyncio.start_unix_server(talk, path):
        with pytest.raises(TransientError, match="started nothing"):
            await start_child(["bash"], ENV, Path("/"))


ORDER = Order(("a", "ä\udc80"), {"K": "v"}, "/")
BOUNDS = Bounds(
    Scope((Rule("/w", Permission.WRITE),), (Rule("/w/x", Permission.READ, recursive=False),)),
    Needs(("/usr",), ("/home",)),
    (Rule("/w/y", Permission.WRITE),),
    soft=True,
)


@pytest.mark.parametrize("program", ["bash", "/bin/bash", "no-such", "/no/such", "/bin", "/etc/passwd"])
def test_a_program_is_found_as_shutil_finds_it(program: str) -> None:
    path = f"/no/such:{ENV['PATH']}"
    assert find(program, path) == shutil.which(program, path=path)


def test_an_order_is_read_as_it_was_written() -> None:
    assert decode_order(ORDER.encode()) == ORDER
    kept = ORDER._replace(bounds=BOUNDS.encode())
    order = decode_order(kept.encode())
    assert (order, decode_bounds(order.bounds or {})) == (kept, BOUNDS)
    assert b"bounds" not in ORDER.encode()  # a starter of an older hive takes it


@pytest.mark.parametrize("bounds", ['"all"', "[]", "true"])
def test_an_order_with_what_are_no_bounds_starts_nothing(bounds: str) -> None:
    with pytest.raises(Wrong):
        decode_order(ORDER.encode().replace(b'{"argv"', b'{"bounds": ' + bounds.encode() + b', "argv"'))


@pytest.mark.parametrize("bounds", [{}, {**BOUNDS.encode(), "scope": {"allow": [], "deny": []}}, {"scope": 5}])
def test_bounds_that_nobody_understands_are_refused(bounds: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        decode_bounds(bounds)


@pytest.mark.skipif(abi() < HOLDS, reason="this kernel has no Landlock")
async def test_it_is_kept_to_the_bounds_of_its_order_and_without_any_it_is_free(
    started: Starters, tmp_path: Path
) -> None:
    script = f"echo 1 > {tmp_path.resolve()}/made && echo made || echo refused"
    for bounds, expected in ((Bounds(Scope((Rule("/", Permission.READ),))), "refused"), (None, "made")):
        child = await start_child(["bash", "-c", script], ENV, Path("/"), bounds)
        try:
            assert await first(child) == expected
        finally:
            await child.end(((signal.SIGTERM, 0.2),))


async def test_bounds_that_cannot_be_held_start_nothing_and_say_why(started: Starters, tmp_path: Path) -> None:
    gone = Rule(f"{tmp_path.resolve()}/gone", Permission.WRITE)
    with pytest.raises(Refused, match="there is nothing yet"):
        await start_child(["bash", "-c", "echo"], ENV, Path("/"), Bounds(Scope((gone,))))


@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b'{"argv": [], "env": {}, "cwd": "/"}', b'{"argv": ["a", 1], "env": {}, "cwd": "/"}', b"{"]
)
def test_what_is_no_order_is_refused(line: bytes) -> None:
    with pytest.raises(Wrong):
        decode_order(line)


@pytest.mark.parametrize(
    ("fds", "data"), [(2, ORDER.encode()), (3, b""), (3, ORDER.encode() + b"more"), (3, b"no end"), (0, ORDER.encode())]
)
def test_an_order_without_its_descriptors_or_its_end_is_refused_and_nothing_stays_open(fds: int, data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = descriptors()
        socket.send_fds(ours, [MARK], [0] * fds)
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(Wrong):
            receive_order(theirs)
        assert descriptors() == before
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Wrong, match="too late"):
        receive_order(theirs, seconds=0)


def test_bounds_that_cannot_be_worked_out_start_nothing_and_the_log_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    def fails(_: dict[str, object]) -> dict[str, object]:
        raise ValueError("of a test")

    with pytest.raises(CannotHold) as raised:
        planned({}, fails)
    assert "could not be worked out" in raised.value.report["refused"]
    assert "ValueError: of a test" in capfd.readouterr().err
    assert planned({}, lambda _: {"grants": None}) is None
