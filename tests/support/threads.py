"""A thread that only sleeps. Its id is a number that no process has."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def sleeping_thread() -> Iterator[int]:
    """Yield the id of a thread of this process that is not its first. It ends with the block."""
    over, started = threading.Event(), threading.Event()

    def sleep() -> None:
        started.set()
        over.wait()

    thread = threading.Thread(target=sleep)
    thread.start()
    started.wait()
    assert thread.native_id is not None
    try:
        yield thread.native_id
    finally:
        over.set()
        thread.join()
