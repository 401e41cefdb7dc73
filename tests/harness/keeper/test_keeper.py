"""The keeper above a harness, with real processes: which ends and which lives on when the harness ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.keeper.program import RESTARTS, WINDOW, restart_wanted
from harness.keeper.wanted import VARIABLE, wanted
from meta.process.identity import readable

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness

DEADLINE = 15.0
PROGRAM = Path(__file__).parents[2] / "support" / "kept_harness.py"
MEMORY = 25_000_000


class Kept:
    """A keeper with a stand-in for a harness."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.log: list[str] = []
        self._pidfds: dict[int, int] = {}

    async def say(self, words: str) -> int:
        """Have the harness do something; return the number that it answers with."""
        self.tell(words)
        return await self.answer()

    def tell(self, words: str) -> None:
        """Have the harness do something that it does not answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n".encode())

    async def answer(self) -> int:
        """Return the number in the next answer, and watch a process of that number."""
        assert self.process.stdout is not None
        while True:
            async with asyncio.timeout(DEADLINE):
                line = (await self.process.stdout.readline()).decode()
            assert line, self.log
            words = line.split()
            if len(words) == 2 and words[1].isdecimal():
                if words[0] != "left":
                    self.watch(int(words[1]))
                return int(words[1])
            self.log.append(line)

    def watch(self, pid: int) -> None:
        self._pidfds[pid] = os.pidfd_open(pid)

    async def over(self, pid: int) -> None:
        """Wait for the end of a process."""
        async with asyncio.timeout(DEADLINE):
            await readable(self._pidfds[pid])

    async def gone(self, pid: int) -> None:
        """Wait for the end of a process, and until somebody reaped it."""
        await self.over(pid)
        async with asyncio.timeout(DEADLINE):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.01)

    def lives(self, pid: int) -> bool:
        """Return True if a process that was seen runs."""
        try:
            signal.pidfd_send_signal(self._pidfds[pid], 0)
        except ProcessLookupError:
            return False
        return True

    async def crash(self, pid: int) -> int:
        """Kill the harness; return the number of the next one."""
        os.kill(pid, signal.SIGKILL)
        return await self.answer()

    async def ended(self) -> int:
        """Wait for the end of the keeper; return its code."""
        async with asyncio.timeout(DEADLINE):
            output, _ = await self.process.communicate()
        self.log += output.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode

    async def close(self) -> None:
        """End what is left, the keeper first: it would start the harness again."""
        if self.process.returncode is None:
            self.process.kill()
        for pidfd in self._pidfds.values():
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                continue
            finally:
                os.close(pidfd)
        await self.process.communicate()


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROGRAM.parents[2])}
    kept = Kept(await asyncio.create_subprocess_exec(sys.executable, PROGRAM, "keep", stdin=PIPE, stdout=PIPE, env=env))
    yield kept
    await kept.close()


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def child(pid: int) -> int:
    (only,) = children(pid)
    return only


async def test_a_sub_agent_lives_through_a_crash_of_the_harness_and_leftovers_of_its_cli_do_not(kept: Kept) -> None:
    first = await kept.answer()
    pod, forged, bare = await kept.say("pod"), await kept.say("cli"), await kept.say("bare")
    second = await kept.crash(first)
    assert second != first
    await kept.gone(first)
    await kept.gone(forged)
    await kept.gone(bare)
    assert kept.lives(pod)
    assert "the harness ended with -9, and 1 sub-agents live: it starts again" in "".join(kept.log)
    kept.process.send_signal(signal.SIGTERM)
    assert await kept.ended() == 0
    await kept.gone(pod)
    await kept.gone(second)


async def test_a_sub_agent_of_the_harness_before_is_reaped_at_its_end_and_leaves_nothing(kept: Kept) -> None:
    first = await kept.answer()
    pod, other = await kept.say("pod"), await kept.say("stubborn")
    await kept.crash(first)
    left = child(pod)
    kept.watch(left)
    os.kill(pod, signal.SIGTERM)
    await kept.gone(pod)
    await kept.gone(left)
    assert kept.lives(other)
    assert kept.process.returncode is None


async def test_a_sweep_after_a_turn_spares_sub_agents_and_what_they_start(kept: Kept) -> None:
    await kept.answer()
    pod, bare = await kept.say("pod"), await kept.say("bare")
    assert await kept.say("sweep") == 0
    await kept.gone(bare)
    kept.watch(child(pod))
    assert kept.lives(pod)


@pytest.mark.parametrize("code", [3, 0, 78])
async def test_the_end_of_a_harness_without_sub_agents_is_the_end_of_the_container(kept: Kept, code: int) -> None:
    await kept.answer()
    bare = await kept.say("bare")
    kept.tell(f"exit {code}")
    assert await kept.ended() == code
    await kept.gone(bare)


async def test_a_harness_without_sub_agents_that_a_signal_ends_is_reported_with_it(kept: Kept) -> None:
    os.kill(await kept.answer(), signal.SIGSEGV)
    assert await kept.ended() == -signal.SIGSEGV


@pytest.mark.parametrize("code", [0, 78])
async def test_a_harness_that_ends_by_itself_takes_its_sub_agents_with_it(kept: Kept, code: int) -> None:
    await kept.answer()
    pod, stubborn = await kept.say("pod"), await kept.say("stubborn")
    left = child(pod)
    kept.watch(left)
    kept.tell(f"exit {code}")
    assert await kept.ended() == code
    for each in (pod, stubborn, left):
        await kept.gone(each)


async def test_a_harness_that_crashes_again_and_again_is_given_up(kept: Kept) -> None:
    harness = await kept.answer()
    pod = await kept.say("pod")
    for _ in range(RESTARTS):
        harness = await kept.crash(harness)
    assert kept.lives(pod)
    os.kill(harness, signal.SIGKILL)
    assert await kept.ended() == -signal.SIGKILL
    await kept.gone(pod)


async def test_a_keeper_that_is_killed_takes_the_harness_with_it_and_is_small(kept: Kept) -> None:
    harness = await kept.answer()
    pages = int(Path(f"/proc/{kept.process.pid}/statm").read_text(encoding="ascii").split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < MEMORY
    kept.process.kill()
    await kept.over(harness)


async def test_hive_sees_the_same_boot_after_a_crash(harness: Harness, hive: FakeHive) -> None:
    harness.program, harness.stdin = (sys.executable, str(PROGRAM), "keep"), PIPE
    kept = Kept(await harness.start("b" * 20, "nonce-7"))
    first = await kept.answer()
    pod = await kept.say("pod")
    kept.tell("serve")
    await hive.until(lambda: hive.calls)
    await kept.crash(first)
    kept.tell("serve")
    await hive.until(lambda: len(hive.hellos) == 2)
    await hive.post("operator", "ping")
    await hive.until(lambda: hive.acks == 1)
    assert {(hello.generation, hello.nonce) for hello in hive.hellos} == {("b" * 20, "nonce-7")}
    assert kept.lives(pod)
    assert await harness.end() == 0
    await kept.gone(pod)
    await kept.close()


@pytest.mark.parametrize("most", [0, 2])
async def test_the_real_harness_has_a_keeper_if_it_may_have_sub_agents(
    harness: Harness, hive: FakeHive, most: int
) -> None:
    harness.configure(f"[pods]\nmax = {most}\n")
    process = await harness.start()
    await hive.until(lambda: hive.calls)
    below = children(process.pid)
    assert len(below) == (1 if most else 0)
    assert await harness.end() == 0
    assert harness.log.count("asked to end") == 1


async def test_wrong_settings_below_a_keeper_end_as_they_do_without(harness: Harness) -> None:
    harness.configure('runtime = "cladue"\n[pods]\nmax = 2\n')
    await harness.start()
    assert await harness.ended() == 78


@pytest.mark.parametrize(
    ("code", "asked", "alive", "restarts", "again"),
    [
        (-9, False, 1, (), True),
        (1, False, 1, (), True),
        (1, False, 0, (), False),
        (1, True, 1, (), False),
        (0, False, 1, (), False),
        (78, False, 1, (), False),
        (1, False, 1, (100.0,) * RESTARTS, False),
        (1, False, 1, (100.0,) * (RESTARTS - 1), True),
        (1, False, 1, (100.0 - WINDOW,) * RESTARTS, True),
    ],
)
def test_only_a_crash_beside_living_sub_agents_restarts_the_harness(
    code: int, asked: bool, alive: int, restarts: tuple[float, ...], again: bool
) -> None:
    assert restart_wanted(code, asked=asked, alive=alive, restarts=restarts, now=100.0) is again


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[pods]\nmax = 4\n", True),
        ("[pods]\nmax = 0\n", False),
        ("[pods]\nmax = true\n", False),
        ("[pods\nmax = 4\n", False),
        ("pods = 4\n", False),
        ("", False),
        (None, False),
    ],
)
def test_only_an_agent_that_may_have_sub_agents_gets_a_keeper(tmp_path: Path, text: str | None, expected: bool) -> None:
    if text is not None:
        (tmp_path / "agent.toml").write_text(text, encoding="utf-8")
    variables = {"HIVE_CONFIG": str(tmp_path)}
    assert wanted(variables) is expected
    assert not wanted({**variables, VARIABLE: "3"})
