"""The pipes between the two sides of a fetch, and the wait for both of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from meta.process.disk import disk_error


async def together(*tasks: asyncio.Future[Any]) -> None:
    """Wait until all are done. The first error ends the others, and is raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        done = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """Create a pipe whose ends belong to two stacks.

    hive closes its copies once both programs run. So each program notices when the other closes its end.
    """
    # Not a socket pair: if upload-pack dies with input unread, a socket reports "connection reset", at which git's
    # remote-fd hangs; a pipe reports end of file.
    try:
        reader, writer = os.pipe()
    except OSError as error:
        raise disk_error("cannot connect git's two sides", error) from error
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer
