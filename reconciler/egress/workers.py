"""The threads that write to the disk. They are there before any agent, so no agent can take their place."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from reconciler.egress.limits import WORKERS


def start_workers() -> ThreadPoolExecutor:
    """Return an executor that has all its threads, and starts none later."""
    workers = ThreadPoolExecutor(WORKERS, "worker")
    all_there = threading.Barrier(WORKERS + 1)
    for _ in range(WORKERS):
        workers.submit(all_there.wait)
    all_there.wait()
    return workers
