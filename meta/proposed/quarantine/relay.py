"""Bytes from a program that hive does not trust to one of its own, through the daemon, under a deadline of progress.

The kernel moves the bytes (splice): the daemon only counts them. What it counts against is time that was spent waiting
for the sender. Time in which the receiver was busy is not the sender's fault.
"""

from __future__ import annotations

import asyncio
import os
import time

from meta.errors import TransientError
from meta.process.identity import readable

PATIENCE = 10.0
"""Seconds that hive waits in all for a sender that sends nothing."""
BYTES_PER_SECOND = 64 * 1024
"""For this many bytes the sender gets one more second, so that one byte now and then buys no time."""
_CHUNK = 64 * 1024


class Stalled(TransientError):
    """The sender kept hive waiting for longer than its bytes are worth."""


async def relay(source: int, sink: int, patience: float) -> None:
    """Move everything from pipe `source` to pipe `sink`, until either of them ends.

    The caller closes both, also if this raises Stalled.
    """
    for fd in (source, sink):
        os.set_blocking(fd, False)
    left = patience
    while True:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(left):
                await readable(source)
        except TimeoutError as error:
            raise Stalled("it sent too little for too long") from error
        left -= time.monotonic() - begun
        try:
            count = os.splice(source, sink, _CHUNK, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            await _writable(sink)
            continue
        except BrokenPipeError:  # the receiver has ended, and reports why itself
            return
        if count == 0:
            return
        left = min(patience, left + count / BYTES_PER_SECOND)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)
