"""Misbehaviour at the start, as the health gate sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from harness.faults import OLD_GENERATION
from meta.wire.link import Probe

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness


async def test_exit_ends_with_its_code_before_hello(harness: Harness, hive: FakeHive) -> None:
    harness.configure("[start]\nexit = 7\n")
    await harness.start()
    assert await harness.ended() == 7
    assert (hive.links, hive.calls) == (0, [])


async def test_never_hello_never_connects_and_still_ends_when_asked(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[start]\nfault = "never-hello"\n')
    process = await harness.start()
    assert process.stdout is not None
    assert b"misbehaving on purpose: never-hello" in await process.stdout.readline()
    assert await harness.end() == 0
    assert (hive.links, hive.calls) == (0, [])


async def test_the_times_of_the_log_are_in_utc_and_say_so_whatever_the_zone_of_the_container(harness: Harness) -> None:
    harness.configure('[start]\nfault = "never-hello"\n')
    harness.around = ("env", "TZ=NEVER-9")
    process = await harness.start()
    assert process.stdout is not None
    clock, utc, _ = (await process.stdout.readline()).decode().partition("Z ")
    assert utc
    since = datetime.now(UTC) - datetime.fromisoformat(f"{datetime.now(UTC).date()}T{clock}+00:00")
    assert since % timedelta(days=1) < timedelta(hours=1)  # the day may have ended in between
    await harness.end()


async def test_mute_says_hello_and_answers_nothing(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[start]\nfault = "mute"\n')
    await harness.start()
    await hive.until(lambda: hive.hellos)
    await hive.order(Probe(probe=2))
    await hive.post("operator", "ping")
    assert await harness.end() == 0
    assert (hive.states, hive.calls, hive.waiting) == ([], [], 1)


async def test_old_generation_says_hello_as_another_one(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[start]\nfault = "old-generation"\n')
    await harness.start("a" * 20, "n1")
    await hive.until(lambda: hive.states)
    assert [(hello.generation, hello.nonce) for hello in hive.hellos] == [(OLD_GENERATION, "n1")]
    assert await harness.end() == 0


async def test_hello_then_exit_says_hello_and_is_gone(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[start]\nfault = "hello-then-exit"\nexit = 3\n')
    await harness.start()
    assert await harness.ended() == 3
    await hive.until(lambda: hive.lost == 1)
    assert (len(hive.hellos), hive.states) == (1, [])


async def test_hello_then_exit_has_code_1_unless_told_otherwise(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[start]\nfault = "hello-then-exit"\n')
    await harness.start()
    assert await harness.ended() == 1


async def test_flap_comes_and_goes(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[start]\nfault = "flap"\n')
    await harness.start()
    await hive.until(lambda: hive.lost >= 4)
    assert len(hive.hellos) >= 4
    assert hive.states == []
    assert await harness.end() == 0


async def test_a_delay_comes_before_everything(harness: Harness, hive: FakeHive) -> None:
    harness.configure("[start]\ndelay = 3600\n")
    process = await harness.start()
    assert process.stdout is not None
    assert b"waiting 3600 s on purpose" in await process.stdout.readline()
    assert await harness.end() == 0
    assert hive.links == 0
