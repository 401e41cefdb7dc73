"""A process id that now belongs to something else is never taken for the process that had it, and never an error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import NotFound
from meta.process.identity import alive, identity, open_pidfd
from tests.support.programs import until
from tests.support.threads import sleeping_thread


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_the_pidfd_is_that_of_the_process_that_is_meant(child: subprocess.Popen[bytes]) -> None:
    fd = open_pidfd(identity(child.pid))
    assert fd is not None
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    os.close(fd)
    assert child.wait() == -signal.SIGKILL


def test_a_thread_that_has_the_number_now_is_not_the_process() -> None:
    with sleeping_thread() as thread:
        was = replace(identity(os.getpid()), pid=thread)
        for recorded in (was, replace(was, start_time=1), replace(was, boot_id="another"), identity(thread)):
            assert open_pidfd(recorded) is None


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**40, 2**70])
def test_a_number_that_no_process_can_have_is_gone(pid: int) -> None:
    assert open_pidfd(replace(identity(os.getpid()), pid=pid)) is None


def test_another_process_with_the_number_is_never_opened(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int, flags: int = 0) -> int:
        raise AssertionError("the record is compared first")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    now = identity(child.pid)
    assert open_pidfd(replace(now, start_time=now.start_time - 1)) is None
    assert open_pidfd(replace(now, boot_id="another boot")) is None


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL, errno.ENOENT])
def test_what_kernels_answer_for_what_is_no_process_means_gone(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert open_pidfd(identity(os.getpid())) is None


def test_another_error_is_not_taken_for_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="too many"):
        open_pidfd(identity(os.getpid()))


async def test_an_ended_process_that_nobody_reaped_is_not_alive() -> None:
    zombie = subprocess.Popen(["sleep", "1000"])
    which = identity(zombie.pid)
    zombie.kill()
    await until(lambda: not alive(which))
    assert Path(f"/proc/{zombie.pid}").exists()
    zombie.wait()
    with pytest.raises(NotFound):
        identity(zombie.pid)
