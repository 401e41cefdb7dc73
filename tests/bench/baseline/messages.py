"""Messages of 100 agents through their sockets: accepted and durable, and the drain of full inboxes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

from tests.bench.baseline.rounds import ROUNDS, Aim, Row
from tests.bench.baseline.trees import BASELINE, HERE, Daemon, daemon
from tests.bench.lines import Caller, line

AGENTS = 100
EACH = 200
"""Messages of each agent in a round."""
ALONE = 400
"""Messages of one agent that sends alone."""
BODY = "x" * 200


class Round(NamedTuple):
    """What one daemon did in one round."""

    sent: float
    """Durable messages per second."""
    cpu: float
    """Microseconds of the daemon's CPU for each of these."""
    drained: float
    """Messages per second that were received and, in the end, acknowledged."""
    alone: float
    """Durable messages per second of one sender that waits for each answer."""


def measure() -> Iterator[Row]:
    """Measure both daemons in turn."""
    today, then = asyncio.run(_both())
    for name, unit, at, aim in (
        ("durable messages, 100 senders", "/s", 0, Aim(least=2.5)),
        ("CPU of the daemon per message, 100 senders", "µs", 1, Aim(most=0.45)),
        ("recv and ack of full inboxes, 100 receivers", "/s", 2, Aim()),
        ("durable messages, one sender", "/s", 3, Aim()),
    ):
        yield Row(name, unit, [each[at] for each in today], [each[at] for each in then], "4adf687", aim)


async def _both() -> tuple[list[Round], list[Round]]:
    names = [f"a{number}" for number in range(AGENTS)]
    async with AsyncExitStack() as stack:
        today = await stack.enter_async_context(daemon(HERE, names))
        then = await stack.enter_async_context(daemon(BASELINE, names))
        rounds = [(await _round(today, names), await _round(then, names)) for _ in range(ROUNDS)]
    return [each[0] for each in rounds], [each[1] for each in rounds]


async def _round(made: Daemon, names: list[str]) -> Round:
    callers = [await made.agent(name) for name in names]
    spent, began = made.cpu(), time.perf_counter()
    await asyncio.gather(*(_send(each, names[number - 1], EACH) for number, each in enumerate(callers)))
    took = time.perf_counter() - began
    cpu = (made.cpu() - spent) / (EACH * AGENTS) * 1e6
    began = time.perf_counter()
    await asyncio.gather(*map(_drain, callers))
    drained = EACH * AGENTS / (time.perf_counter() - began)
    began = time.perf_counter()
    await _send(callers[0], names[1], ALONE)
    alone = ALONE / (time.perf_counter() - began)
    await _drain(callers[1])
    for each in callers:
        each.close()
    return Round(EACH * AGENTS / took, cpu, drained, alone)


async def _send(sender: Caller, to: str, count: int) -> None:
    request = line(cmd="send", to=to, body=BODY)
    for _ in range(count):
        answer = await sender.call(request)
        assert b'"ok"' in answer, answer


async def _drain(receiver: Caller) -> None:
    while b'"message"' in await receiver.call(line(cmd="recv", wait_seconds=0)):
        pass
    await receiver.call(line(cmd="ack_turn"))
