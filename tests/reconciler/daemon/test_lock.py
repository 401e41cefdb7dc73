"""The state directory's lock: one daemon has it, and who only looks does not keep one from starting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta.errors import Conflict, Damaged
from reconciler.daemon.lock import TRIES, take_lock
from reconciler.upkeep.doctor.examine import is_held


def test_a_second_daemon_is_refused_and_told_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("reconciler.daemon.lock.time.sleep", waited.append)
    first = take_lock(tmp_path / "lock")
    with pytest.raises(Conflict, match=f"pid {os.getpid()}"):
        take_lock(tmp_path / "lock")
    assert len(waited) == TRIES - 1
    os.close(first)
    os.close(take_lock(tmp_path / "lock"))


def test_a_look_that_meets_a_start_does_not_keep_it_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = take_lock(tmp_path / "lock")
    monkeypatch.setattr("reconciler.daemon.lock.time.sleep", lambda _: os.close(looking))
    descriptor = take_lock(tmp_path / "lock")
    assert is_held(tmp_path / "lock")
    os.close(descriptor)
    assert not is_held(tmp_path / "lock")


@pytest.mark.timeout(10)
def test_a_pipe_in_the_place_of_the_lock_is_named_and_a_look_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
    with pytest.raises(Damaged, match="lock is damaged"):
        take_lock(tmp_path / "lock")
