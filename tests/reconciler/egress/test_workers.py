"""The threads that write to the disk are there from the start."""

from __future__ import annotations

import threading

import pytest

from reconciler.egress.limits import WORKERS
from reconciler.egress.workers import start_workers


def test_work_is_done_on_a_host_that_has_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with start_workers() as workers:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        answers = [workers.submit(int, "7") for _ in range(3 * WORKERS)]

        assert [answer.result(10) for answer in answers] == [7] * (3 * WORKERS)
