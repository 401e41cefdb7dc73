"""The real program against a stand-in for hive: hello, turns, drains, restarts of either side."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meta.wire.agent import AckTurn, Recv, RequeueInflight
from meta.wire.link import Cancel, Drain, Hold, Probe, Resume, TurnState, Verb

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness

GIVEN_BACK = 3
"""Returns of a message after which the stand-in puts it aside, as hive does."""
HELD = '[[script]]\nwhen = "hold"\nsend = { to = "operator", body = "holding" }\nsleep = 3600\n'
SHORT = '[[script]]\nwhen = "work"\nsend = { to = "operator", body = "working" }\nsleep = 0.3\nreply = "worked"\n'


async def test_it_says_hello_with_what_was_launched_and_answers_a_probe(harness: Harness, hive: FakeHive) -> None:
    await harness.start("b" * 20, "nonce-7")
    await hive.until(lambda: any(state.probe == 1 for state in hive.states))
    assert [(hello.generation, hello.nonce) for hello in hive.hellos] == [("b" * 20, "nonce-7")]
    assert hive.hellos[0].state is TurnState.IDLE
    assert await harness.end() == 0


async def test_a_message_is_one_turn_and_is_acknowledged(harness: Harness, hive: FakeHive) -> None:
    await hive.post("operator", "ping")
    await harness.start()
    await hive.until(lambda: hive.acks == 1)
    assert hive.sent == [("operator", "pong")]
    await hive.until(lambda: hive.turn is TurnState.IDLE and len(hive.states) >= 3)
    assert [state.state for state in hive.states if state.probe is None] == [TurnState.THINKING, TurnState.IDLE]


async def test_what_was_in_flight_is_put_back_once_before_the_first_message(harness: Harness, hive: FakeHive) -> None:
    await hive.post("operator", "ping")
    await hive.post("operator", "ping")
    await harness.start()
    await hive.until(lambda: hive.acks == 2 and isinstance(hive.calls[-1], Recv))
    assert isinstance(hive.calls[0], RequeueInflight)
    assert sum(isinstance(call, RequeueInflight) for call in hive.calls) == 1


async def test_the_inbox_is_left_alone_until_hive_has_seen_the_hello(harness: Harness, hive: FakeHive) -> None:
    hive.probing = False
    await harness.start()
    await hive.until(lambda: hive.hellos)
    assert hive.calls == []
    await hive.order(Probe(probe=9))
    await hive.until(lambda: hive.calls)
    assert hive.states[0].probe == 9


async def test_a_message_of_a_turn_that_was_killed_is_delivered_again(harness: Harness, hive: FakeHive) -> None:
    harness.configure(HELD)
    await hive.post("operator", "hold")
    await harness.start()
    await hive.until(lambda: len(hive.sent) == 1)
    assert await harness.end(signal.SIGKILL) == -signal.SIGKILL
    await harness.start(nonce="n2")
    await hive.until(lambda: len(hive.sent) == 2)
    assert hive.acks == 0
    await harness.end()
    assert "delivered before" in harness.log


async def test_sigterm_in_a_turn_ends_at_once_and_well(harness: Harness, hive: FakeHive) -> None:
    harness.configure(HELD)
    await hive.post("operator", "hold")
    await harness.start()
    await hive.until(lambda: hive.sent)
    assert await harness.end() == 0
    assert not any(isinstance(call, AckTurn) for call in hive.calls)


async def test_a_drain_lets_the_turn_end_and_takes_nothing_more(harness: Harness, hive: FakeHive) -> None:
    harness.configure(SHORT)
    await hive.post("operator", "work")
    await hive.post("operator", "work")
    await harness.start()
    await hive.until(lambda: hive.turn is TurnState.THINKING and hive.sent)
    await hive.order(Drain(deadline_seconds=30))
    await hive.until(lambda: hive.turn is TurnState.DRAINED)
    assert hive.sent == [("operator", "working"), ("operator", "worked")]
    assert (hive.acks, hive.waiting) == (1, 1)
    await hive.order(Resume())
    await hive.until(lambda: hive.acks == 2)
    assert await harness.end() == 0


async def test_a_drain_between_turns_is_answered_at_once(harness: Harness, hive: FakeHive) -> None:
    await harness.start()
    await hive.until(lambda: any(isinstance(call, Recv) for call in hive.calls))
    await hive.order(Drain(deadline_seconds=30))
    await hive.until(lambda: hive.turn is TurnState.DRAINED)
    said = len(hive.states)
    await hive.order(Drain(deadline_seconds=0))
    await hive.until(lambda: len(hive.states) > said)
    assert hive.turn is TurnState.DRAINED


async def test_a_drain_does_not_wait_for_a_hive_that_holds_back_recv(harness: Harness, hive: FakeHive) -> None:
    await harness.start()
    await hive.until(lambda: any(isinstance(call, Recv) for call in hive.calls))
    await hive.say(Drain(deadline_seconds=30))
    await hive.until(lambda: hive.turn is TurnState.DRAINED)
    await hive.order(Resume())
    await hive.post("operator", "ping")
    await hive.until(lambda: hive.acks == 1)
    assert sum(isinstance(call, RequeueInflight) for call in hive.calls) == 2


async def test_it_finds_a_restarted_hive_and_goes_on(harness: Harness, hive: FakeHive) -> None:
    process = await harness.start()
    await hive.until(lambda: any(isinstance(call, Recv) for call in hive.calls))
    await hive.close()
    await hive.open()
    await hive.until(lambda: len(hive.hellos) == 2)
    await hive.post("operator", "ping")
    await hive.until(lambda: hive.acks == 1)
    assert hive.sent == [("operator", "pong")]
    assert process.returncode is None


async def test_a_turn_outlives_a_restart_of_hive(harness: Harness, hive: FakeHive) -> None:
    harness.configure(SHORT)
    await hive.post("operator", "work")
    await harness.start()
    await hive.until(lambda: hive.sent)
    await hive.close()
    await hive.open()
    await hive.until(lambda: hive.acks == 1)
    assert hive.sent == [("operator", "working"), ("operator", "worked")]
    assert hive.hellos[1].state is TurnState.THINKING
    assert hive.hellos[1].seconds > 0


async def test_a_drain_ends_with_the_daemon_that_asked_for_it(harness: Harness, hive: FakeHive) -> None:
    await harness.start()
    await hive.until(lambda: hive.hellos)
    await hive.order(Drain(deadline_seconds=30))
    await hive.until(lambda: hive.turn is TurnState.DRAINED)
    await hive.close()
    hive.draining = False
    await hive.open()
    await hive.post("operator", "ping")
    await hive.until(lambda: hive.acks == 1)


async def test_it_waits_for_a_hive_that_is_not_there_yet(harness: Harness, absent: FakeHive) -> None:
    process = await harness.start()
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = await process.stdout.readline()
    assert b"harness.sock does not answer" in line
    await absent.open()
    await absent.until(lambda: absent.hellos)
    assert await harness.end() == 0


async def test_a_line_that_is_not_understood_does_not_end_the_link(harness: Harness, hive: FakeHive) -> None:
    await harness.start()
    await hive.until(lambda: any(state.probe == 1 for state in hive.states))
    await hive.raw(b'{"down":"dance"}\nnot json\n')
    await hive.order(Probe(probe=8))
    await hive.until(lambda: any(state.probe == 8 for state in hive.states))
    assert hive.links == 1


async def test_a_message_of_a_megabyte_passes(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[[script]]\nreply = "{body}"\n')
    body = "ü✨\n" * 300_000
    await hive.post("operator", body)
    await harness.start()
    await hive.until(lambda: hive.acks == 1)
    assert hive.sent == [("operator", body)]


async def test_a_turn_over_its_time_is_given_back_until_hive_puts_it_aside(harness: Harness, hive: FakeHive) -> None:
    harness.configure("limits.turn_seconds = 0.05\n" + HELD + '[[script]]\nwhen = "ping"\nreply = "pong"\n')
    await hive.post("operator", "hold")
    await hive.post("operator", "ping")
    await harness.start()
    await hive.until(lambda: hive.acks == 1)
    assert [body for _, body in hive.sent] == ["holding"] * GIVEN_BACK + ["pong"]
    await harness.end()
    assert "limits.turn_seconds" in harness.log


async def test_a_turn_that_hive_cancels_is_given_back_and_the_harness_goes_on(harness: Harness, hive: FakeHive) -> None:
    harness.configure(HELD + '[[script]]\nwhen = "ping"\nreply = "pong"\n')
    await hive.post("operator", "hold")
    await hive.post("operator", "ping")
    process = await harness.start()
    for count in range(1, 1 + GIVEN_BACK):
        await hive.until(lambda count=count: len(hive.sent) == count)  # type: ignore[misc]
        await hive.order(Cancel())
    await hive.until(lambda: hive.acks == 1)
    assert [body for _, body in hive.sent] == ["holding"] * GIVEN_BACK + ["pong"]
    await hive.order(Cancel())
    await hive.order(Probe(probe=77))
    await hive.until(lambda: any(state.probe == 77 for state in hive.states))
    assert process.returncode is None


async def test_the_cancel_of_an_earlier_turn_ends_no_later_one(harness: Harness, hive: FakeHive) -> None:
    harness.configure(HELD)
    await hive.post("operator", "hold")
    await harness.start()
    await hive.until(lambda: len(hive.sent) == 1)
    assert hive.hellos[0].turn == 0
    await hive.order(Cancel(turn=0))
    await hive.order(Probe(probe=77))
    await hive.until(lambda: any(state.probe == 77 for state in hive.states))
    assert (hive.turn, hive.states[-1].turn) == (TurnState.THINKING, 1)
    await hive.order(Cancel(turn=1))
    await hive.until(lambda: len(hive.sent) == 2)


async def test_wrong_settings_end_the_start_and_name_the_key(harness: Harness, hive: FakeHive) -> None:
    harness.configure('limits.turn_seconds = "long"\n')
    await harness.start()
    assert await harness.ended() == 78
    assert "limits.turn_seconds: must be a number" in harness.log
    assert hive.links == 0


async def test_a_rule_whose_pattern_is_none_ends_the_start_and_is_named(harness: Harness, hive: FakeHive) -> None:
    harness.configure('[[script]]\n[[script]]\nwhen = "("\n')
    await harness.start()
    assert await harness.ended() == 78
    assert "script[1].when: is not a regular expression" in harness.log
    assert hive.links == 0


async def test_a_runtime_that_is_not_there_is_said_at_the_start(harness: Harness, hive: FakeHive) -> None:
    harness.configure('runtime = "cladue"\n')
    await harness.start()
    assert await harness.ended() == 78
    assert "runtime: must be 'script', 'claude'" in harness.log
    assert hive.links == 0


async def test_an_agent_whose_cli_is_missing_is_parked_and_takes_no_message(harness: Harness, hive: FakeHive) -> None:
    harness.configure('runtime = "acp"\ncommand = ["/nowhere/agent"]\n')
    await hive.post("operator", "ping")
    await harness.start()
    await hive.until(lambda: hive.turn is TurnState.PARKED)
    assert hive.states[-1].reason
    assert hive.states[-1].until is not None
    assert (hive.abouts[-1].runtime, hive.abouts[-1].problem) == ("acp", hive.states[-1].reason)
    assert hive.waiting == 1
    await hive.order(Drain(deadline_seconds=30))
    await hive.until(lambda: hive.turn is TurnState.DRAINED)
    assert await harness.end() == 0


@pytest.mark.bwrap
async def test_a_state_that_is_read_only_ends_nothing_and_is_said(harness: Harness, hive: FakeHive, base: Path) -> None:
    harness.state = base / "state"
    harness.state.mkdir()
    state = str(harness.state)
    harness.around = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", state, state, "--die-with-parent", "--")
    await harness.start()
    for _ in range(2):
        await hive.post("bob", "ping")
    await hive.until(lambda: hive.acks == 2)
    assert "read-only" in (await hive.control(Verb.MODEL, "opus")).text.lower()
    await hive.order(Hold(paused=True, reason="a look"))
    await hive.until(lambda: hive.turn is TurnState.PAUSED)
    await hive.order(Hold())
    await hive.until(lambda: hive.turn is TurnState.IDLE)
    assert hive.sent == [("bob", "pong"), ("bob", "pong")]
    await harness.end()
    assert "Read-only file system" in harness.log
    assert not list(harness.state.iterdir())


async def test_the_log_has_one_line_per_event(harness: Harness, hive: FakeHive) -> None:
    await hive.post("wake:evil\n00:00:00 forged", "two\nlines")
    await harness.start()
    await hive.until(lambda: hive.acks == 1)
    await harness.end()
    assert "00:00:00 forged" not in [line[:15] for line in harness.log.splitlines()]
    assert all(line[2] == ":" and line[5] == ":" and "forged" not in line[:20] for line in harness.log.splitlines())
    assert "lines" not in harness.log
