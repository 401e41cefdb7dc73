"""The loop's promise, with whatever happens around it: no message is lost, and none is acknowledged unseen.

What the model saw before says so if it comes again, and no outage makes a dead letter.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from harness.runtimes.base import Ending, Sink, TurnOutcome, TurnRequest
from meta.wire.link import Cancel, Control, Drain, Hold, Resume, Verb
from tests.harness.inside import Inside, poll, requeues
from tests.support.scripted_runtime import OK, ScriptedRuntime

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness

MESSAGES = 25
BAD = (Ending.PARKED, Ending.NEEDS_LOGIN, Ending.CRASHED, Ending.REFUSED, Ending.OVERFLOW)
HINT = "may already be handled"
_BEGINS = re.compile(r"^----- message (\d+) begins", re.MULTILINE)


class Moody(ScriptedRuntime):
    """A runtime whose turns end in any way, until `calm`, or are all parked while it is `down`.

    `seen` are the messages that its model was shown, `unmarked` those that it was shown again without a hint.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, inject=True)
        self.dice = dice
        self.calm = False
        self.down = False
        self.seen: set[int] = set()
        self.unmarked: list[int] = []
        self.written: list[str] | None = None

    @override
    async def turn(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        """End well in two of three cases. Of what was injected the model sees a part."""
        self.requests.append(request)
        self.written = []
        lost: tuple[str, ...] = ()
        try:
            outcome = await self._end(request, sink)
            lost = tuple(text for text in self.written if self.dice.random() < 0.3)
        finally:  # what was injected into a turn that is cut off by the operator is discarded with it
            for text in {*self.written} - {*lost}:
                self.seen.update(map(int, _BEGINS.findall(text)))
            self.written = None
        return replace(outcome, unseen=lost)

    async def _end(self, request: TurnRequest, sink: Sink) -> TurnOutcome:
        self._check(request.prompt)
        self.seen.update(map(int, _BEGINS.findall(request.prompt)))
        if self.down:
            return TurnOutcome(Ending.PARKED, "the server is down")
        await asyncio.sleep(self.dice.random() * 0.02)
        if self.calm or self.dice.random() < 0.67:
            return await OK(request, sink)
        if self.dice.random() < 0.2:
            self.interrupted.clear()
            await self.interrupted.wait()
            return TurnOutcome(Ending.CANCELLED)
        return TurnOutcome(self.dice.choice(BAD), "bad luck", time.time() + 0.01)

    @override
    async def inject(self, text: str) -> bool:
        """Take a text in half of the cases."""
        if self.written is None or self.dice.random() < 0.5:
            return False
        self._check(text)
        self.written.append(text)
        return True

    def _check(self, text: str) -> None:
        """Note what comes again without a hint. A text has one message."""
        if HINT not in text:
            self.unmarked += self.seen & {*map(int, _BEGINS.findall(text))}


class Changing:
    """Credentials that change all the time, so that no turn waits for a login."""

    def mark(self) -> object:
        return object()


async def disturb(hive: FakeHive, dice: random.Random) -> None:
    """Do one thing that can happen at any time."""
    what = dice.randrange(8)
    if what == 0:
        await hive.order(Hold(paused=dice.random() < 0.5, over_budget=dice.random() < 0.2))
    elif what == 1:
        await hive.order(Drain(deadline_seconds=1) if dice.random() < 0.5 else Resume())
    elif what == 2:
        await hive.order(Cancel())
    elif what == 3:
        await hive.order(Control(id="c", verb=dice.choice((Verb.CANCEL, Verb.NEW_SESSION, Verb.COMPACT))))
    elif what == 4:
        hive.breaking = True
    elif what == 5:
        await hive.close()
        await hive.open()
        await hive.until(lambda links=hive.links: hive.links > links)  # type: ignore[misc]
    else:
        await asyncio.sleep(dice.random() * 0.03)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(8))
async def test_no_message_is_lost_and_none_is_acknowledged_unseen(
    harness: Harness, hive: FakeHive, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    hasten(monkeypatch)
    dice = random.Random(seed)
    if seed % 2:
        hive.hold = None  # an older hive
    runtime = Moody(dice)
    inside = Inside(harness.run.parent, runtime=runtime, credentials=Changing())
    async with inside.start():
        for number in range(MESSAGES):
            await hive.post("bob", f"message {number}")
            await disturb(hive, dice)
        runtime.calm, hive.breaking = True, False
        runtime.interrupted.set()
        await hive.order(Hold())
        await hive.order(Resume())
        async with asyncio.timeout(20):
            while {*hive.acked, *hive.dead} != {*range(1, MESSAGES + 1)}:
                runtime.interrupted.set()
                await asyncio.sleep(0.01)
    assert {*hive.acked} <= runtime.seen
    assert not {*hive.acked} & {*hive.dead}
    assert not runtime.unmarked


@pytest.mark.parametrize("seed", range(4))
async def test_no_outage_makes_a_dead_letter(
    harness: Harness, hive: FakeHive, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    hasten(monkeypatch)
    dice = random.Random(seed)
    runtime = Moody(dice)
    runtime.calm = True
    inside = Inside(harness.run.parent, runtime=runtime)
    async with inside.start():
        for number in range(MESSAGES):
            await hive.post("bob", f"message {number}")
        while len(hive.acked) < MESSAGES:
            runtime.down = not runtime.down
            turns = len(runtime.requests) + dice.randrange(2, 12)
            await poll(lambda turns=turns: len(runtime.requests) > turns or len(hive.acked) == MESSAGES)  # type: ignore[misc]
    assert (hive.dead, requeues(hive), runtime.unmarked) == ([], 0, [])


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that takes seconds take milliseconds, and let the harness suspect a message soon."""
    for name, seconds in {
        "mail.LOOK_SECONDS": 0.005,
        "loop.LOGIN_LOOK_SECONDS": 0.005,
        "loop.DRAIN_GRACE": 0.02,
        "connect.FIRST_DELAY": 0.005,
        "inbox.ANSWER_SECONDS": 0.5,  # asyncio forgets a connection that FakeHive accepts while it closes
        "inbox.RECV_SECONDS": 1,
        "link.RELEASE_SECONDS": 0.5,
        "turn.STOP_SECONDS": 0.05,
        "suspects.SUSPECT_SECONDS": 0.0,
        "suspects.MANY": 1,
        "retry.FIRST_DELAY": 0.001,
        "retry.LONGEST_DELAY": 0.002,
    }.items():
        monkeypatch.setattr(f"harness.{name}", seconds)
