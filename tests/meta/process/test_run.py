"""The one subprocess caller, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from meta.errors import NotFound, PermanentError, TransientError
from meta.process import run

PYTHON = sys.executable


def python(code: str, *words: str) -> list[str]:
    return [PYTHON, "-c", code, *words]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.to_thread(os.sched_yield)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def started_pid(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else None


WRITES_PID_THEN_HANGS = """
import os, pathlib, signal, sys
if len(sys.argv) > 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
signal.pause()
while True: signal.pause()
"""

FORKS_THEN = """
import os, pathlib, signal, sys
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
    while True: signal.pause()
"""


async def test_output_code_and_errors_come_back() -> None:
    done = await run.run(
        python("import sys; print(sys.stdin.read()); sys.stderr.write('hm\\n'); sys.exit(3)"),
        deadline=10,
        stdin=b"hello",
        check=False,
    )
    assert (done.code, done.text, done.stderr_tail) == (3, "hello", "hm\n")
    assert 0 < done.seconds < 10


async def test_a_code_other_than_zero_is_a_permanent_error_that_carries_everything() -> None:
    with pytest.raises(run.ProcessFailed, match=r"exit code 4.*: no such luck") as caught:
        await run.run(
            python("import sys; print('x'); sys.stderr.write('no such luck'); sys.exit(4)"),
            deadline=10,
        )
    assert caught.value.completed.code == 4
    assert caught.value.completed.stdout == b"x\n"


async def test_the_environment_is_minimal_and_what_the_caller_adds() -> None:
    done = await run.run(
        python("import json, os; print(json.dumps(dict(os.environ)))"), deadline=10, env={"GIT_CONFIG_NOSYSTEM": "1"}
    )
    got = json.loads(done.stdout)
    got.pop("LC_CTYPE", None)
    assert got == {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


async def test_a_megabyte_goes_in_and_out() -> None:
    data = os.urandom(2**20)
    assert (await run.run(["cat"], deadline=10, stdin=data)).stdout == data


async def test_a_command_that_does_not_read_its_input_is_no_error() -> None:
    assert (await run.run(["true"], deadline=10, stdin=b"x" * 2**20)).code == 0


async def test_lines_of_stderr_are_streamed_as_they_come(tmp_path: Path) -> None:
    seen: list[str] = []
    go = tmp_path / "go"
    os.mkfifo(go)

    def on_line(line: str) -> None:
        seen.append(line)
        if line == "first":
            os.close(os.open(go, os.O_WRONLY))

    code = "import sys; print('first', file=sys.stderr, flush=True); open(sys.argv[1]).read(); sys.stderr.write('last')"
    await run.run(python(code, str(go)), deadline=10, on_line=on_line)
    assert seen == ["first", "last"]


async def test_an_error_in_the_callers_line_function_ends_the_command() -> None:
    def on_line(line: str) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError, match="one"):
        await run.run(
            python("import sys,signal; print('one', file=sys.stderr, flush=True); signal.pause()"),
            deadline=10,
            on_line=on_line,
        )


async def test_more_output_than_allowed_ends_the_command() -> None:
    with pytest.raises(run.OutputTooLarge, match="more than 1000 bytes"):
        await run.run(["yes"], deadline=10, output_limit=1000)


async def test_only_the_tail_of_stderr_is_kept() -> None:
    done = await run.run(python("import sys; sys.stderr.write('a' * 100000 + 'end')"), deadline=10)
    assert len(done.stderr_tail) == 16 * 1024
    assert done.stderr_tail.endswith("aend")


async def test_after_the_deadline_the_whole_group_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TERM_GRACE", 0.1)
    note = tmp_path / "pid"
    with pytest.raises(run.ProcessTimeout, match=r"did not end within 0\.5 s"):
        await run.run(python(FORKS_THEN + "while True: signal.pause()", str(note)), deadline=0.5)
    pid = started_pid(note)
    assert pid is not None
    await until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


async def test_a_cancelled_caller_gets_its_cancellation_after_the_command_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TERM_GRACE", 0.1)
    note = tmp_path / "pid"
    task = asyncio.create_task(run.run(python(WRITES_PID_THEN_HANGS, str(note), "stubborn"), deadline=30))
    await until(lambda: started_pid(note) is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{started_pid(note)}").exists()


async def test_a_second_cancellation_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TERM_GRACE", 1000)
    note = tmp_path / "pid"
    task = asyncio.create_task(run.run(python(WRITES_PID_THEN_HANGS, str(note), "stubborn"), deadline=30))
    await until(lambda: started_pid(note) is not None)
    task.cancel()
    await asyncio.wait([task], timeout=0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await task
    assert not Path(f"/proc/{started_pid(note)}").exists()


async def test_what_a_command_leaves_behind_in_its_group_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = FORKS_THEN + "import time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.001)\nprint('done')"
    done = await run.run(python(code, str(note)), deadline=10)
    assert done.text == "done"
    assert done.seconds < 5
    await until(lambda: started_pid(note) is not None and not process_runs(started_pid(note)))


def process_runs(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        return run.alive(run.identity(pid))
    except NotFound:
        return False


async def test_a_missing_program_is_named_with_its_debian_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match="bwrap is not installed") as caught:
        await run.run(["bwrap", "true"], deadline=1)
    assert "apt-get install bubblewrap" in caught.value.hint


async def test_a_missing_working_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"cannot start `.*true` in .*gone"):
        await run.run(["true"], deadline=1, cwd=tmp_path / "gone")


async def test_limits_hold_in_the_child(tmp_path: Path) -> None:
    done = await run.run(
        ["dd", "if=/dev/zero", f"of={tmp_path / 'big'}", "bs=1M", "count=4"],
        deadline=10,
        limits={resource.RLIMIT_FSIZE: 2**20},
        check=False,
    )
    assert done.code == -signal.SIGXFSZ
    assert (tmp_path / "big").stat().st_size == 2**20


async def test_descriptors_are_passed_on_only_when_asked() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"secret")
        done = await run.run(python(f"import os; print(os.read({reader}, 6))"), deadline=10, pass_fds=[reader])
        assert done.text == "b'secret'"
        with pytest.raises(run.ProcessFailed, match="Bad file descriptor"):
            await run.run(python(f"import os; print(os.read({writer}, 6))"), deadline=10)
    finally:
        os.close(reader)
        os.close(writer)


def children() -> set[str]:
    """The process ids of this process's children, zombies among them."""
    return {child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()}


async def test_two_hundred_commands_leave_no_descriptor_child_or_thread() -> None:
    await run.run(["true"], deadline=10)
    before, others = descriptors(), children()  # other tests of this process may have servers of their own
    threads = threading.active_count()
    for _ in range(20):
        await asyncio.gather(*(run.run(["true"], deadline=10) for _ in range(10)))
    assert descriptors() == before
    assert threading.active_count() == threads
    assert children() <= others


async def test_a_record_exists_only_while_the_command_runs(tmp_path: Path) -> None:
    recorder = run.Recorder(tmp_path / "processes", "me")
    go = tmp_path / "go"
    os.mkfifo(go)
    task = asyncio.create_task(
        run.run(
            python("import os,sys; print(os.environ['HIVE_OWNER']); open(sys.argv[1])", str(go)),
            deadline=10,
            recorder=recorder,
        )
    )
    await until(lambda: any("pid" in path.read_text() for path in (tmp_path / "processes").glob("*.json")))
    await asyncio.to_thread(lambda: os.close(os.open(go, os.O_WRONLY)))
    done = await task
    assert done.text == recorder.environment()["HIVE_OWNER"]
    assert done.text.startswith("me:")
    assert list((tmp_path / "processes").iterdir()) == []


def orphan(env: dict[str, str], note: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python(WRITES_PID_THEN_HANGS, str(note), *words), env={**os.environ, **env}, start_new_session=True
    )


async def test_recovery_ends_a_marked_orphan_and_leaves_every_other_process_alone(tmp_path: Path) -> None:
    earlier, now = (run.Recorder(tmp_path / "processes", "me") for _ in range(2))
    theirs = run.Recorder(tmp_path / "processes", "other")
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
    earlier, now = (run.Recorder(tmp_path / "processes", "me") for _ in range(2))
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


def write_record(directory: Path, which: run.ProcessIdentity) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "0123-1.json"
    path.write_text(json.dumps({"argv": ["x"], "pid": which.pid, "start": which.start_time, "boot": which.boot_id}))
    return path


async def test_recovery_ends_the_session_of_a_recorded_command_even_without_a_marker(tmp_path: Path) -> None:
    victim = orphan({}, tmp_path / "pid")
    try:
        await until(lambda: started_pid(tmp_path / "pid") is not None)
        record = write_record(tmp_path / "processes", run.identity(victim.pid))
        assert len(await run.Recorder(tmp_path / "processes", "me").recover(deadline=10)) == 1
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
        real = run.identity(bystander.pid)
        values: dict[str, object] = {"pid": real.pid, "start_time": real.start_time, "boot_id": real.boot_id, **change}
        record = write_record(
            tmp_path / "processes",
            run.ProcessIdentity(real.pid, int(str(values["start_time"])), str(values["boot_id"])),
        )
        assert await run.Recorder(tmp_path / "processes", "me").recover(deadline=10) == []
        assert bystander.poll() is None
        assert not record.exists()
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_record_cut_short_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "0123-1.json").write_text('{"argv": ["gi')
    assert await run.Recorder(tmp_path, "me").recover(deadline=10) == []
    assert list(tmp_path.iterdir()) == []


async def test_a_detached_program_outlives_its_caller_unmarked_and_is_reaped(tmp_path: Path) -> None:
    recorder = run.Recorder(tmp_path / "processes", "me")
    note, log = tmp_path / "pid", tmp_path / "log"
    pid = await run.spawn_detached(
        python("print('hello', flush=True)\n" + WRITES_PID_THEN_HANGS, str(note)),
        env=run.environment(recorder.environment()),
        cwd=tmp_path,
        log=log,
    )
    await until(lambda: started_pid(note) is not None)
    which = run.identity(pid)
    assert run.alive(which)
    assert os.getsid(pid) == pid
    assert b"HIVE_OWNER" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert await run.Recorder(tmp_path / "processes", "me").recover(deadline=10) == []
    assert log.read_text() == "hello\n"
    assert log.stat().st_mode & 0o777 == 0o600
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{pid}").exists())
    assert not run.alive(which)


async def test_an_ended_process_that_nobody_reaped_is_not_alive() -> None:
    zombie = subprocess.Popen(["sleep", "1000"])
    which = run.identity(zombie.pid)
    zombie.kill()
    await until(lambda: not run.alive(which))
    assert Path(f"/proc/{zombie.pid}").exists()
    zombie.wait()
    with pytest.raises(NotFound):
        run.identity(zombie.pid)
