"""The relay counts the time that a sender keeps hive waiting, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meta.proposed.quarantine.relay import Stalled, relay

Pipes = tuple[int, int, int, int]


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """Two pipes: the sender's, then the receiver's; each as read end, write end."""
    with ExitStack() as stack:
        ends = (*os.pipe(), *os.pipe())
        for end in ends:
            stack.callback(_close, end)
        yield ends


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return


async def test_everything_arrives_and_the_end_too(pipes: Pipes) -> None:
    source, send, receive, sink = pipes
    os.write(send, b"pack")
    os.close(send)
    await relay(source, sink, 5)
    assert os.read(receive, 100) == b"pack"


async def test_a_sender_that_sends_nothing_is_given_up(pipes: Pipes) -> None:
    with pytest.raises(Stalled):
        await relay(pipes[0], pipes[3], 0.02)


async def test_a_byte_now_and_then_buys_no_time(pipes: Pipes) -> None:
    source, send, _, sink = pipes

    async def drip() -> None:
        while True:
            os.write(send, b".")
            await asyncio.sleep(0.02)

    dripping = asyncio.ensure_future(drip())
    with pytest.raises(Stalled):
        await asyncio.wait_for(relay(source, sink, 0.1), 10)
    dripping.cancel()


async def test_a_receiver_that_is_busy_is_waited_for(pipes: Pipes) -> None:
    source, send, receive, sink = pipes
    os.set_blocking(sink, False)
    room = 0
    while True:
        try:
            room += os.write(sink, bytes(4096))
        except BlockingIOError:
            break
    os.write(send, b"pack")
    os.close(send)
    moving = asyncio.ensure_future(relay(source, sink, 0.02))
    await asyncio.wait({moving}, timeout=0.2)
    assert not moving.done()
    while room:
        room -= len(os.read(receive, min(room, 65536)))
    await asyncio.wait_for(moving, 5)
    assert os.read(receive, 100) == b"pack"


async def test_a_receiver_that_ended_ends_the_relay(pipes: Pipes) -> None:
    source, send, receive, sink = pipes
    os.close(receive)
    os.write(send, b"pack")
    await asyncio.wait_for(relay(source, sink, 5), 5)
