"""A thread that does nothing but be there: its id is a number that is no process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def sleeping_thread() -> Iterator[int]:
    """The id of a thread of this process that is not its first; it ends with the block."""
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
