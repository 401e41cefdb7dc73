"""Programs that outlive the daemon."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from meta.process.detached import spawn_detached
from meta.process.identity import alive, identity
from meta.process.recorder import Recorder
from meta.process.run import environment
from tests.support.programs import OWNER, WRITES_PID_THEN_HANGS, python, started_pid, until


async def test_a_detached_program_outlives_its_caller_unmarked_and_is_reaped(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "processes", OWNER)
    note, log = tmp_path / "pid", tmp_path / "log"
    ends: list[str] = []
    pid = await spawn_detached(
        python("print('hello', flush=True)\n" + WRITES_PID_THEN_HANGS, str(note)),
        env=environment(recorder.environment()),
        cwd=tmp_path,
        log=log,
        ended=ends.append,
    )
    await until(lambda: started_pid(note) is not None)
    which = identity(pid)
    assert alive(which)
    assert os.getsid(pid) == pid
    assert b"HIVE_OWNER" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert await Recorder(tmp_path / "processes", OWNER).recover(deadline=10) == []
    assert log.read_text() == "hello\n"
    assert log.stat().st_mode & 0o777 == 0o600
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{pid}").exists())
    assert not alive(which)
    await until(lambda: ends == ["signal SIGKILL"])


async def test_the_exit_status_of_a_detached_program_is_reported(tmp_path: Path) -> None:
    ends: list[str] = []
    await spawn_detached(python("raise SystemExit(3)"), env={}, cwd=tmp_path, ended=ends.append)
    await until(lambda: ends == ["exit status 3"])
