"""A CLI as a child of the harness: its lines, its end, and the end of all that it started."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.child import HEAD, Child, Line, Lines, start_child
from meta.errors import PermanentError

ENV = {"PATH": os.environ["PATH"]}


@asynccontextmanager
async def shell(script: str) -> AsyncIterator[Child]:
    child = await start_child(["bash", "-c", script], ENV, Path("/"))
    try:
        yield child
    finally:
        await child.end(((signal.SIGTERM, 0.2),))


async def first(child: Child) -> str:
    async for line in child.lines():
        return line.data.decode()
    raise AssertionError("no line")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_lines_come_as_they_are_written_and_the_last_may_lack_its_end() -> None:
    async with shell(r"printf 'one\r\n\ntwo'") as child:
        assert [line async for line in child.lines()] == [Line(b"one"), Line(b""), Line(b"two")]


@pytest.mark.parametrize("line", ["", "{}"])
async def test_a_flood_of_short_lines_leaves_the_event_loop_its_turns(line: str) -> None:
    rounds: list[int] = [0]

    async def count() -> None:
        while True:
            rounds[0] += 1
            await asyncio.sleep(0)

    async with shell(f"yes '{line}' | head -c 300000") as child:
        counting = asyncio.create_task(count())
        most = lines = before = 0
        async for _ in child.lines():
            before, lines = (before, lines + 1) if rounds[0] == before else (rounds[0], 1)
            most = max(most, lines)
        counting.cancel()
    assert most <= 64


async def test_a_line_of_50_mb_keeps_its_head_and_the_next_line_is_whole() -> None:
    async with shell("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo next") as child:
        long, after = [line async for line in child.lines()]
    assert long == Line(b"x" * HEAD, 50_000_000 - HEAD)
    assert after == Line(b"next")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], size: int) -> None:
    data = b"\n".join(part.replace(b"\n", b"").replace(b"\r", b"") for part in parts)
    split = Lines(limit=20, head=5)
    lines = [line for at in range(0, len(data), size) for line in split.feed(data[at : at + size])] + split.finish()
    whole = data.removesuffix(b"\n").split(b"\n") if data else []
    assert [line.data for line in lines] == [part if len(part) <= 20 else part[:5] for part in whole]
    assert [len(line.data) + line.dropped for line in lines] == [len(part) for part in whole]


async def test_what_is_written_reaches_it_and_the_exit_code_comes_back() -> None:
    async with shell("read word; echo got $word; exit 7") as child:
        assert child.write(b"hello\n")
        assert await first(child) == "got hello"
        assert await child.wait() == 7
        assert not child.write(b"more\n")


async def test_only_the_end_of_stderr_is_kept_and_secrets_in_it_are_not_shown() -> None:
    async with shell("head -c 100000 /dev/zero | tr '\\0' x >&2; echo ' sk-ant-abcdefgh0123 gone' >&2; echo") as child:
        await child.wait()
        await first(child)
        assert child.stderr.endswith(" [redacted] gone")
        assert len(child.stderr) < 20_000


async def test_a_missing_program_and_one_that_cannot_be_executed_are_errors_with_their_name(tmp_path: Path) -> None:
    (tmp_path / "cli").write_text("#!/bin/sh\n")
    for program in ("no-such-cli", str(tmp_path / "cli")):
        with pytest.raises(PermanentError, match=program):
            await start_child([program], ENV, tmp_path)


async def test_a_cli_that_ignores_sigterm_is_killed() -> None:
    async with shell("trap '' TERM; echo ready; while true; do read -t 60 <> <(:); done") as child:
        assert await first(child) == "ready"
        assert await child.end(((signal.SIGTERM, 0.05),)) == -signal.SIGKILL
        assert not alive(child.pid)


async def test_a_cli_that_closes_stdout_but_lives_ends_the_lines_and_is_ended() -> None:
    async with shell("exec >&-; exec sleep 60") as child:
        assert [line async for line in child.lines()] == []
        assert child.running
        assert await child.end() == -signal.SIGTERM


async def test_the_lines_end_although_what_the_cli_left_behind_goes_on_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.child._DRAIN_SECONDS", 0.02)
    async with asyncio.timeout(10), shell(f"setsid yes {'x' * 200} & exit 3") as child:
        async for _ in child.lines():
            await asyncio.sleep(0)  # slower than it writes
        assert await child.wait() == 3


async def test_the_lines_end_with_the_cli_although_what_it_left_behind_keeps_stdout_open() -> None:
    async with shell("setsid sleep 60 & echo last") as child:
        assert [line.data async for line in child.lines()] == [b"last"]
        assert await child.wait() == 0


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
async def test_a_word_that_no_command_line_can_have_is_an_error(word: str) -> None:
    with pytest.raises(PermanentError, match="arguments"):
        await start_child(["true", word], ENV, Path("/"))


async def test_its_signals_are_those_of_the_ladder() -> None:
    async with shell("trap 'exit 3' INT; echo ready; read -t 60 <> <(:)") as child:
        await first(child)
        assert await child.end(((signal.SIGINT, 5.0),)) == 3


ESCAPE = """
import os, subprocess, sys
def wait(): os.close(1); import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        wait()
    os._exit(0)
os.wait()
if sys.argv[1] == "stays":
    wait()
"""


@pytest.mark.parametrize("leader", ["stays", "ends"])
async def test_a_descendant_that_left_its_group_and_parent_ends_too(leader: str) -> None:
    child = await start_child([sys.executable, "-c", ESCAPE, leader], ENV, Path("/"))
    pid = int(await first(child))
    assert alive(pid)
    await child.end(((signal.SIGTERM, 0.05),))
    assert not alive(pid)
    assert not Path(f"/proc/{pid}").exists(), "it was not reaped"


async def test_another_child_and_what_it_left_behind_are_spared() -> None:
    one = await start_child([sys.executable, "-c", ESCAPE, "ends"], ENV, Path("/"))
    other = await start_child([sys.executable, "-c", ESCAPE, "stays"], ENV, Path("/"))
    pid, spared = int(await first(one)), int(await first(other))
    await one.end()
    assert (alive(pid), alive(spared), other.running) == (False, True, True)
    await other.end(())
    assert not alive(spared)


async def test_a_process_of_somebody_else_is_spared() -> None:
    theirs = await asyncio.create_subprocess_exec("sleep", "60")
    async with shell("exit 0") as child:
        await child.wait()
    assert theirs.returncode is None
    theirs.kill()
    await theirs.wait()


def is_subreaper() -> bool:
    value = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(value), 0, 0, 0)
    return value.value == 1


async def test_a_process_inherits_only_while_it_has_a_child() -> None:
    before = is_subreaper()
    async with shell("sleep 60"):
        assert is_subreaper()
    assert (before, is_subreaper()) == (False, False)


ALONE = f"""
import asyncio, os, sys
from pathlib import Path
from harness.child import start_child
from harness.descendants import orphans
async def main():
    orphans.adopt_everything()
    child = await start_child(["env", "-i", sys.executable, "-c", {ESCAPE!r}, "ends"], {ENV!r}, Path("/"))
    async for line in child.lines():
        pid = line.data.decode()
        break
    await child.wait()
    other = await start_child(["true"], {ENV!r}, Path("/"))
    last = await start_child(["true"], {ENV!r}, Path("/"))
    await other.end(())
    assert os.path.exists(f"/proc/{{pid}}"), "the end of another child took it along"
    if sys.argv[1] == "last":
        await child.end(())
        await last.end(())
    else:
        await last.end(())
        await child.end(())
    print("left" if os.path.exists(f"/proc/{{pid}}") else "gone")
asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["its own", "last"])
async def test_a_harness_alone_finds_a_descendant_that_cleared_its_environment_too(end: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALONE, end, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    output, _ = await process.communicate()
    assert output == b"gone\n"


async def test_a_cancelled_end_still_ends_everything() -> None:
    child = await start_child(["bash", "-c", "trap '' TERM; echo ready; sleep 60 & wait; wait"], ENV, Path("/"))
    await first(child)
    ending = asyncio.ensure_future(child.end(((signal.SIGTERM, 60.0),)))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert not alive(child.pid)
    assert await child.end() == -signal.SIGKILL
