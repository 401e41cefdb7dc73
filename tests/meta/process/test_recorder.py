"""A daemon ends what an earlier one left running, with real processes."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from meta.errors import TransientError
from meta.process.identity import ProcessIdentity, identity
from meta.process.recorder import Recorder
from meta.process.run import run
from tests.support.programs import OWNER, WRITES_PID_THEN_HANGS, python, started_pid, until


def orphan(env: dict[str, str], note: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python(WRITES_PID_THEN_HANGS, str(note), *words), env={**os.environ, **env}, start_new_session=True
    )


async def test_a_record_exists_only_while_the_command_runs(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "processes", OWNER)
    go = tmp_path / "go"
    os.mkfifo(go)
    task = asyncio.create_task(
        run(
            python("import os,sys; print(os.environ['HIVE_OWNER']); open(sys.argv[1])", str(go)),
            deadline=10,
            recorder=recorder,
        )
    )
    await until(lambda: any("pid" in path.read_text() for path in (tmp_path / "processes").glob("*.json")))
    await asyncio.to_thread(lambda: os.close(os.open(go, os.O_WRONLY)))
    done = await task
    assert done.text == recorder.environment()["HIVE_OWNER"]
    assert done.text.startswith(f"{OWNER}:")
    assert list((tmp_path / "processes").iterdir()) == []


@pytest.mark.parametrize("when", ["before the start", "with the pid"])
def test_a_record_that_cannot_be_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def write_a_part(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text.encode(encoding)[:1])
        if ("pid" in text) == (when == "with the pid"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_a_part)
    recorder = Recorder(tmp_path, "me")
    with pytest.raises(OSError, match="No space"), recorder.record(["true"]) as started:
        started(os.getpid())
    assert list(tmp_path.iterdir()) == []


async def test_recovery_ends_a_marked_orphan_and_leaves_every_other_process_alone(tmp_path: Path) -> None:
    earlier, now = (Recorder(tmp_path / "processes", OWNER) for _ in range(2))
    theirs = Recorder(tmp_path / "processes", f"other-{OWNER}")
    marks = {"lost": earlier.environment(), "mine": now.environment(), "theirs": theirs.environment(), "free": {}}
    running = {name: orphan(env, tmp_path / name) for name, env in marks.items()}
    try:
        await until(lambda: all(started_pid(tmp_path / name) for name in running))
        ended = await now.recover(deadline=10)
        assert [f"(pid {running['lost'].pid})" in line for line in ended] == [True]
        assert running["lost"].wait(10) == -signal.SIGTERM
        assert [running[name].poll() for name in ("mine", "theirs", "free")] == [None, None, None]
        assert await now.recover(deadline=10) == []
    finally:
        for one in running.values():
            one.kill()
            one.wait()


async def test_recovery_kills_what_ignores_term_and_gives_up_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.process.recorder._GRACE", 0.1)
    earlier, now = (Recorder(tmp_path / "processes", OWNER) for _ in range(2))
    stubborn = orphan(earlier.environment(), tmp_path / "pid", "stubborn")
    try:
        await until(lambda: started_pid(tmp_path / "pid") is not None)
        with pytest.raises(TransientError, match=f"pid {stubborn.pid}"):
            await now.recover(deadline=0.05)
        assert len(await now.recover(deadline=10)) == 1
        assert stubborn.wait(10) == -signal.SIGKILL
    finally:
        stubborn.kill()
        stubborn.wait()


def write_record(directory: Path, which: ProcessIdentity) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "0123-1.json"
    path.write_text(json.dumps({"argv": ["x"], "pid": which.pid, "start": which.start_time, "boot": which.boot_id}))
    return path


async def test_recovery_ends_the_session_of_a_recorded_command_even_without_a_marker(tmp_path: Path) -> None:
    victim = orphan({}, tmp_path / "pid")
    try:
        await until(lambda: started_pid(tmp_path / "pid") is not None)
        record = write_record(tmp_path / "processes", identity(victim.pid))
        assert len(await Recorder(tmp_path / "processes", OWNER).recover(deadline=10)) == 1
        assert victim.wait(10) == -signal.SIGTERM
        assert not record.exists()
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another boot"}])
async def test_recovery_never_touches_a_reused_pid(tmp_path: Path, change: dict[str, object]) -> None:
    bystander = orphan({}, tmp_path / "pid")
    try:
        await until(lambda: started_pid(tmp_path / "pid") is not None)
        real = identity(bystander.pid)
        values: dict[str, object] = {"pid": real.pid, "start_time": real.start_time, "boot_id": real.boot_id, **change}
        record = write_record(
            tmp_path / "processes",
            ProcessIdentity(real.pid, int(str(values["start_time"])), str(values["boot_id"])),
        )
        assert await Recorder(tmp_path / "processes", OWNER).recover(deadline=10) == []
        assert bystander.poll() is None
        assert not record.exists()
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_record_cut_short_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "0123-1.json").write_text('{"argv": ["gi')
    assert await Recorder(tmp_path, OWNER).recover(deadline=10) == []
    assert list(tmp_path.iterdir()) == []
