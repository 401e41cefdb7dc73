"""The supervisor as a program: what it writes, in which order, and how it ends its child."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meta.names import AgentName
from meta.process.identity import alive, identity
from reconciler.backends.local.launch import SUPERVISOR, running_supervisors
from reconciler.backends.local.supervisor import BURST, CHUNK, RATE, READ_COST, Allowance, Log

WAIT = 10.0


class Bench:
    """Specs and supervisors in one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def spec(self, script: str, **changes: object) -> dict[str, object]:
        """A spec that runs a shell script."""
        folder = self.folder
        return {
            "nonce": "n1",
            "launch": {"generation": "g1", "deploy": 7},
            "argv": ["/bin/sh", "-c", script],
            "env": {"PATH": "/usr/bin:/bin", "WHO": "alice"},
            "cwd": str(folder),
            "uid": None,
            "sandboxed": False,
            "cgroups": [],
            "rlimits": {},
            "lock": str(folder / "lock"),
            "run": str(folder / "run.json"),
            "exit": str(folder / "exit.json"),
            "log": str(folder / "log"),
            "log_limit": 100_000,
            "grace": 5.0,
            **changes,
        }

    def start(self, script: str, **changes: object) -> subprocess.Popen[bytes]:
        """Start a supervisor on it; returns at once."""
        path = self.folder / "spec.json"
        path.write_text(json.dumps(self.spec(script, **changes)))
        argv = [sys.executable, "-I", "-S", str(SUPERVISOR), str(path)]
        process = subprocess.Popen([*argv, str(self.folder / "ready")], stdin=subprocess.DEVNULL, env={})
        self.started.append(process)
        return process

    def word(self, script: str, **changes: object) -> tuple[str, subprocess.Popen[bytes]]:
        """Start one and wait for its word."""
        fifo = self.folder / "ready"
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            process = self.start(script, **changes)
            select.select([reader], [], [], WAIT)
            return os.read(reader, 100).decode().strip(), process
        finally:
            os.close(reader)

    def read(self, name: str) -> dict[str, Any]:
        """run.json or exit.json."""
        found: dict[str, Any] = json.loads((self.folder / name).read_text())
        return found

    def ended(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait for the supervisor's end and read what it wrote."""
        assert process.wait(WAIT) == 0
        return self.read("exit.json")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, bounded, for something that has no event."""
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            select.select([], [], [], 0.005)

    def log(self) -> str:
        """The output so far."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def until_logged(self, text: str) -> None:
        """Wait for output."""
        self.until(lambda: text in self.log())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on which nothing is left running."""
    made = Bench(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(WAIT)
            process.kill()
        process.wait()


def test_the_exit_code_is_recorded_with_the_nonce(bench: Bench) -> None:
    before = time.time()
    record = bench.ended(bench.start("exit 7"))
    assert (record["nonce"], record["code"], record["signal"]) == ("n1", 7, None)
    assert before <= record["at"] <= time.time()


def test_the_run_is_recorded_before_the_program_does_anything(bench: Bench) -> None:
    record = bench.ended(bench.start("test -s run.json || exit 9; cat run.json > seen"))
    assert record["code"] == 0
    assert bench.read("seen") == bench.read("run.json")


def test_the_record_of_the_run_identifies_supervisor_and_child_and_keeps_the_launch(bench: Bench) -> None:
    word, process = bench.word("sleep 1000")
    assert word == "ok"
    run = bench.read("run.json")
    assert run["launch"] == {"generation": "g1", "deploy": 7}
    assert run["supervisor"]["pid"] == process.pid
    for key in ("supervisor", "child"):
        which = identity(run[key]["pid"])
        assert (which.start_time, which.boot_id) == (run[key]["start"], run["boot"])
        assert alive(which)


def test_a_child_that_has_not_executed_its_program_yet_is_not_taken_for_a_supervisor(
    tmp_path: Path, bench: Bench
) -> None:
    bench.folder = tmp_path / "alice"
    bench.folder.mkdir()
    script = bench.folder / "script"
    script.write_text("import os, time\nos.closerange(3, 1 << 16)\ntime.sleep(1000)\n")  # as the launcher does
    word, process = bench.word("", argv=[sys.executable, "-I", "-S", str(script)])
    assert word == "ok"
    child = bench.read("run.json")["child"]["pid"]
    assert Path(f"/proc/{child}/cmdline").read_bytes() == Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert list(running_supervisors(tmp_path)) == [(AgentName("alice"), identity(process.pid))]


def test_a_second_supervisor_says_busy_and_runs_nothing(bench: Bench) -> None:
    bench.word("sleep 1000")
    run = bench.read("run.json")
    word, rival = bench.word("touch ran")
    assert word == "busy"
    assert rival.wait(WAIT) == 75
    assert bench.read("run.json") == run
    assert not (bench.folder / "ran").exists()


def test_a_program_that_is_not_there_is_an_exit_with_the_reason_in_the_log(bench: Bench) -> None:
    word, process = bench.word("", argv=["/nonexistent/program"])
    assert word == "ok"
    assert bench.ended(process)["code"] == 126
    assert "/nonexistent/program" in bench.log()


def test_a_cgroup_that_cannot_be_joined_means_that_the_program_never_runs(bench: Bench) -> None:
    process = bench.start("touch ran", cgroups=["/sys/fs/cgroup/nonexistent/cgroup.procs"])
    assert bench.ended(process)["code"] == 126
    assert "nonexistent" in bench.log()
    assert not (bench.folder / "ran").exists()


def test_it_has_only_the_environment_of_the_spec_and_the_limits_given(bench: Bench) -> None:
    bench.ended(bench.start("env; ulimit -n", rlimits={"nofile": 123}))
    words = bench.log().split()
    assert {"WHO=alice", "123"} <= set(words)
    assert not [word for word in words if word.startswith("HIVE_")]


def test_it_inherits_no_descriptor_of_the_supervisor(bench: Bench) -> None:
    bench.ended(bench.start("ls /proc/$$/fd"))
    assert set(bench.log().split()) <= {"0", "1", "2"}


def test_term_is_passed_on_and_how_the_child_ended_is_recorded(bench: Bench) -> None:
    process = bench.start("trap 'exit 3' TERM; sleep 1000 & echo up; wait")
    bench.until_logged("up")
    process.terminate()
    assert bench.ended(process)["code"] == 3


def test_a_child_that_ignores_term_is_killed_after_the_grace(bench: Bench) -> None:
    process = bench.start("trap '' TERM; echo up; while :; do sleep 1000; done", grace=0.05)
    bench.until_logged("up")
    process.terminate()
    record = bench.ended(process)
    assert (record["code"], record["signal"]) == (None, 9)


def test_quit_kills_at_once(bench: Bench) -> None:
    process = bench.start("trap '' TERM; echo up; while :; do sleep 1000; done", grace=1000.0)
    bench.until_logged("up")
    process.terminate()
    process.send_signal(signal.SIGQUIT)
    assert bench.ended(process)["signal"] == 9


def test_a_kill_of_the_child_is_recorded_as_a_signal(bench: Bench) -> None:
    _, process = bench.word("sleep 1000 & wait")
    os.kill(bench.read("run.json")["child"]["pid"], signal.SIGKILL)
    assert bench.ended(process)["signal"] == 9


def test_kill_of_the_supervisor_kills_the_child_and_leaves_no_exit(bench: Bench) -> None:
    _, process = bench.word("exec sleep 1000")
    child = identity(bench.read("run.json")["child"]["pid"])
    process.kill()
    bench.until(lambda: not alive(child))
    assert not (bench.folder / "exit.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another uid needs root")
def test_the_child_of_another_uid_also_dies_with_the_supervisor(bench: Bench) -> None:
    _, process = bench.word("exec sleep 1000", uid=600_000, cwd="/")
    child = identity(bench.read("run.json")["child"]["pid"])
    assert Path(f"/proc/{child.pid}").stat().st_uid == 600_000
    process.kill()
    bench.until(lambda: not alive(child))


def test_what_left_the_childs_session_is_ended_with_it(bench: Bench) -> None:
    process = bench.start("setsid sh -c 'echo $$; exec sleep 1000' & while ! [ -s log ]; do sleep 0.01; done; exit 4")
    assert bench.ended(process)["code"] == 4
    runaway = int(bench.log().split()[0])
    with contextlib.suppress(FileNotFoundError):
        assert Path(f"/proc/{runaway}/comm").read_text() != "sleep\n"


def test_the_last_output_is_kept(bench: Bench) -> None:
    bench.ended(bench.start("echo first; echo second >&2; printf last"))
    assert bench.log() == "first\nsecond\nlast"


def test_endless_output_slows_its_program_down_and_the_log_reports_it(bench: Bench) -> None:
    word, process = bench.word("exec yes", log_limit=8 * BURST)
    assert word == "ok"
    bench.until_logged("hive: too much output: the program is slowed down to 256 KiB a second\n")
    begun, before = time.monotonic(), (bench.folder / "log").stat().st_size
    bench.until(lambda: (bench.folder / "log").stat().st_size > before)
    assert before < BURST + 3 * CHUNK
    assert (bench.folder / "log").stat().st_size - before < RATE * (time.monotonic() - begun) + 3 * CHUNK
    process.send_signal(signal.SIGTERM)
    assert bench.ended(process)["signal"] == signal.SIGTERM


def test_small_reads_cost_more_than_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    allowance = Allowance()
    for _ in range(BURST // READ_COST):
        assert allowance.wait() == 0.0
        allowance.spend(1)
    assert allowance.wait() == CHUNK / RATE
    now[0] += CHUNK / RATE
    assert allowance.wait() == 0.0


def test_output_is_appended_over_runs_and_rotated_once(bench: Bench) -> None:
    for number in range(4):
        bench.ended(bench.start(f"head -c 600 /dev/zero | tr '\\0' {number}", log_limit=1000))
    assert bench.log() == "3" * 600
    assert (bench.folder / "log.1").read_text() == "2" * 600
    assert sorted(path.name for path in bench.folder.glob("log*")) == ["log", "log.1", "log.times", "log.times.1"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time.time says; the last is now."""
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[-1])
    return now


def marks(log: Log, end: str = "") -> list[tuple[float, int]]:
    """When from which offset on, of the log that is written to."""
    inode = Path(f"{log.path}{end}").stat().st_ino
    found = [line.split() for line in Path(f"{log.path}.times{end}").read_text().splitlines()]
    return [(float(at), int(offset)) for number, at, offset in found if int(number) == inode]


def test_when_output_was_written_is_noted_once_a_second_and_when_the_clock_went_back(
    tmp_path: Path, clock: list[float]
) -> None:
    log = Log(str(tmp_path / "log"), 1000)
    for at, text in ((1000.0, b"one\n"), (1000.9, b"two\n"), (1001.0, b"three\n"), (900.0, b"four\n")):
        clock.append(at)
        log.write(text)
    assert marks(log) == [(1000.0, 0), (1001.0, 8), (900.0, 14)]
    again = Log(str(tmp_path / "log"), 1000)
    again.write(b"five\n")
    assert marks(again)[-1] == (900.0, 19), "another run of the agent"


def test_the_times_are_rotated_with_the_log_and_are_no_longer_than_it(tmp_path: Path, clock: list[float]) -> None:
    log = Log(str(tmp_path / "log"), 200)
    for number in range(100):
        clock.append(clock[-1] + 1)
        log.write(b"%d" % (number % 10))
        assert (tmp_path / "log.times").stat().st_size <= 300
    assert (tmp_path / "log.1").exists()
    assert marks(log, ".1")[0][1] == 0
    assert marks(log)[-1] == (clock[-1], log.size - 1)


def test_a_log_that_was_deleted_by_hand_is_begun_anew_when_it_is_full(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 10)
    log.write(b"123456789\n")
    for path in tmp_path.iterdir():
        path.unlink()
    log.write(b"again\n")
    assert (tmp_path / "log").read_text() == "again\n"


def test_a_log_that_became_a_symlink_is_not_followed(bench: Bench) -> None:
    target = bench.folder / "target"
    target.write_text("precious")
    (bench.folder / "log").symlink_to(target)
    process = bench.start("echo overwrite", log_limit=1)
    assert process.wait(WAIT) != 0
    assert target.read_text() == "precious"


def test_a_directory_that_was_deleted_meanwhile_does_not_keep_it_from_ending(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "container"
    folder.mkdir()
    names = {name: str(folder / name) for name in ("lock", "log")}
    records = {"run": str(folder / "run.json"), "exit": str(folder / "exit.json")}
    _, process = bench.word("echo up; sleep 1000 & wait", **names, **records)
    folder.rename(tmp_path / "gone")
    process.terminate()
    assert process.wait(WAIT) == 0


def test_a_script_for_a_bare_python_goes_on_in_the_supervisors_own(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    words = "f\"{'json' in sys.modules} {sys.argv[1:]} {os.environ['WHO']}\\n\""
    script.write_text(f"import sys, os\nos.write(1, {words}.encode())\nos._exit(5)\n")
    record = bench.ended(bench.start("", argv=[sys.executable, "-I", "-S", str(script), "a"]))
    assert "True ['a'] alice\n" in bench.log()
    assert record["code"] == 5


def test_it_needs_nothing_but_the_standard_library_and_starts_fast(bench: Bench) -> None:
    argv = [sys.executable, "-I", "-S", "-X", "importtime", str(SUPERVISOR), "/nonexistent"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT)
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert {"json", "ctypes"} <= loaded
    assert not loaded & {"typing", "pathlib", "asyncio", "subprocess", "meta", "reconciler", "pydantic", "logging"}
