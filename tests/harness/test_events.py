"""The event log of a real harness."""

from __future__ import annotations

from tests.harness.conftest import FakeHive, Harness


def turns(hive: FakeHive) -> list[str]:
    kinds = [event.event["kind"] for event in hive.events]
    return [kind for kind in kinds if kind.startswith("turn_")]


async def test_the_log_of_a_harness_goes_on_after_a_restart_without_gap_or_repetition(
    harness: Harness, hive: FakeHive
) -> None:
    hive.follow = 0
    await hive.post("bob", "ping")
    await harness.start()
    await hive.until(lambda: hive.acks == 1 and turns(hive) == ["turn_start", "turn_end"])
    await harness.end()
    first = list(hive.events)
    hive.follow = first[-1].id
    await hive.post("bob", "ping")
    await harness.start()
    await hive.until(lambda: hive.acks == 2 and turns(hive) == ["turn_start", "turn_end"] * 2)
    await harness.end()
    assert hive.hellos[0].log == hive.hellos[1].log
    ids = [event.id for event in hive.events]
    assert ids == sorted(set(ids))


async def test_a_harness_without_its_log_does_turns(harness: Harness, hive: FakeHive) -> None:
    (harness.run / "hyperhive-events.sqlite").mkdir()
    (harness.run / "hyperhive-events.sqlite" / "file").write_text("")
    harness.run.chmod(0o700)
    hive.follow = 0
    await hive.post("bob", "ping")
    await harness.start()
    await hive.until(lambda: hive.acks == 1)
    await harness.end()
    assert "the event log" in harness.log
