"""Commands run to their end, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from meta.errors import NotFound, PermanentError
from meta.process.child import OutputTooLarge
from meta.process.identity import alive, identity
from meta.process.run import ProcessFailed, ProcessTimeout, Streams, run
from tests.support.programs import FORKS_THEN, WRITES_PID_THEN_HANGS, python, started_pid, until


async def test_output_code_and_errors_come_back() -> None:
    done = await run(
        python("import sys; print(sys.stdin.read()); sys.stderr.write('hm\\n'); sys.exit(3)"),
        deadline=10,
        streams=Streams(stdin=b"hello"),
        check=False,
    )
    assert (done.code, done.text, done.stderr_tail) == (3, "hello", "hm\n")
    assert 0 < done.seconds < 10


async def test_a_code_other_than_zero_is_a_permanent_error_that_carries_everything() -> None:
    with pytest.raises(ProcessFailed, match=r"exit code 4.*: no such luck") as caught:
        await run(
            python("import sys; print('x'); sys.stderr.write('no such luck'); sys.exit(4)"),
            deadline=10,
        )
    assert caught.value.completed.code == 4
    assert caught.value.completed.stdout == b"x\n"


async def test_the_environment_is_minimal_and_what_the_caller_adds() -> None:
    done = await run(
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
    assert (await run(["cat"], deadline=10, streams=Streams(stdin=data))).stdout == data


async def test_a_command_that_does_not_read_its_input_is_no_error() -> None:
    assert (await run(["true"], deadline=10, streams=Streams(stdin=b"x" * 2**20))).code == 0


async def test_lines_of_stderr_are_streamed_as_they_come(tmp_path: Path) -> None:
    seen: list[str] = []
    go = tmp_path / "go"
    os.mkfifo(go)

    def on_line(line: str) -> None:
        seen.append(line)
        if line == "first":
            os.close(os.open(go, os.O_WRONLY))

    code = "import sys; print('first', file=sys.stderr, flush=True); open(sys.argv[1]).read(); sys.stderr.write('last')"
    await run(python(code, str(go)), deadline=10, streams=Streams(on_line=on_line))
    assert seen == ["first", "last"]


async def test_an_error_in_the_callers_line_function_ends_the_command() -> None:
    def on_line(line: str) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError, match="one"):
        await run(
            python("import sys,signal; print('one', file=sys.stderr, flush=True); signal.pause()"),
            deadline=10,
            streams=Streams(on_line=on_line),
        )


async def test_more_output_than_allowed_ends_the_command() -> None:
    with pytest.raises(OutputTooLarge, match="more than 1000 bytes"):
        await run(["yes"], deadline=10, streams=Streams(output_limit=1000))


async def test_only_the_tail_of_stderr_is_kept() -> None:
    done = await run(python("import sys; sys.stderr.write('a' * 100000 + 'end')"), deadline=10)
    assert len(done.stderr_tail) == 16 * 1024
    assert done.stderr_tail.endswith("aend")


async def test_after_the_deadline_the_whole_group_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta.process.child.TERM_GRACE", 0.1)
    note = tmp_path / "pid"
    with pytest.raises(ProcessTimeout, match=r"did not end within 0\.5 s"):
        await run(python(FORKS_THEN + "while True: signal.pause()", str(note)), deadline=0.5)
    pid = started_pid(note)
    assert pid is not None
    await until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


async def test_a_cancelled_caller_gets_its_cancellation_after_the_command_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.process.child.TERM_GRACE", 0.1)
    note = tmp_path / "pid"
    task = asyncio.create_task(run(python(WRITES_PID_THEN_HANGS, str(note), "stubborn"), deadline=30))
    await until(lambda: started_pid(note) is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{started_pid(note)}").exists()


async def test_a_second_cancellation_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta.process.child.TERM_GRACE", 1000)
    note = tmp_path / "pid"
    task = asyncio.create_task(run(python(WRITES_PID_THEN_HANGS, str(note), "stubborn"), deadline=30))
    await until(lambda: started_pid(note) is not None)
    task.cancel()
    await asyncio.wait([task], timeout=0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await task
    assert not Path(f"/proc/{started_pid(note)}").exists()


def runs(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        return alive(identity(pid))
    except NotFound:
        return False


async def test_what_a_command_leaves_behind_in_its_group_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = FORKS_THEN + "import time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.001)\nprint('done')"
    done = await run(python(code, str(note)), deadline=10)
    assert done.text == "done"
    assert done.seconds < 5
    await until(lambda: started_pid(note) is not None and not runs(started_pid(note)))


async def test_a_missing_program_is_named_with_its_debian_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match="bwrap is not installed") as caught:
        await run(["bwrap", "true"], deadline=1)
    assert "apt-get install bubblewrap" in caught.value.hint


async def test_a_missing_working_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"cannot start `.*true` in .*gone"):
        await run(["true"], deadline=1, cwd=tmp_path / "gone")


async def test_limits_hold_in_the_child(tmp_path: Path) -> None:
    done = await run(
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
        done = await run(
            python(f"import os; print(os.read({reader}, 6))"), deadline=10, streams=Streams(pass_fds=(reader,))
        )
        assert done.text == "b'secret'"
        with pytest.raises(ProcessFailed, match="Bad file descriptor"):
            await run(python(f"import os; print(os.read({writer}, 6))"), deadline=10)
    finally:
        os.close(reader)
        os.close(writer)


def children() -> set[str]:
    """The process ids of this process's children, zombies among them."""
    return {child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_two_hundred_commands_leave_no_descriptor_child_or_thread() -> None:
    await run(["true"], deadline=10)
    before, others = descriptors(), children()  # other tests of this process may have servers of their own
    threads = threading.active_count()
    for _ in range(20):
        await asyncio.gather(*(run(["true"], deadline=10) for _ in range(10)))
    assert descriptors() == before
    assert threading.active_count() == threads
    assert children() <= others
