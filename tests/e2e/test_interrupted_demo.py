"""`make demo` that is stopped in the middle: no agent, no supervisor, no daemon and no directory is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.interruption import end_processes, running
from tests.support.lab import discard

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(60)]


class Demo:
    """The story as `make demo` starts it, in a session of its own as below a terminal."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        command = [sys.executable, "-m", "tests.e2e.story"]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, words: str) -> str:
        """Return the line with `words`."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if words in line)

    def terminal(self, number: signal.Signals) -> None:
        """Send the signal to everything that the terminal sends it to."""
        os.killpg(self.process.pid, number)

    def left(self) -> tuple[set[int], list[Path]]:
        """Return the processes and directories that are there after the end."""
        return running(self.directory), list(self.directory.iterdir())


@pytest.fixture
def demo() -> Iterator[Demo]:
    directory = Path(f"/tmp/hive-{os.getpid()}-i")
    discard(directory)
    directory.mkdir(mode=0o755)
    demo = Demo(directory)
    yield demo
    demo.process.kill()
    demo.process.communicate()
    end_processes(directory)
    discard(directory)


def test_ctrl_c_ends_agents_daemon_and_directory_and_a_second_one_does_not_stop_that(demo: Demo) -> None:
    demo.wait_for("alice is spawned")
    assert running(demo.directory)
    demo.terminal(signal.SIGINT)
    demo.terminal(signal.SIGINT)
    _, error = demo.process.communicate()
    assert demo.process.returncode == 128 + signal.SIGINT
    assert error == "  SIGINT: the demo is stopped, its agents and its daemon too\n"
    assert demo.left() == (set(), [])


def test_sigterm_in_the_middle_of_a_start_leaves_nothing(demo: Demo) -> None:
    demo.wait_for("a hive starts")
    demo.process.terminate()
    demo.process.communicate()
    assert demo.process.returncode == 128 + signal.SIGTERM
    assert demo.left() == (set(), [])


def test_a_demo_that_fails_without_its_daemon_leaves_nothing(demo: Demo) -> None:
    line = demo.wait_for("a hive starts")
    demo.wait_for("the manager is healthy")
    daemon = re.search(r"daemon pid (\d+)", line)
    assert daemon is not None
    os.kill(int(daemon[1]), signal.SIGKILL)
    output, _ = demo.process.communicate()
    assert "  FAILED  " in output
    assert demo.process.returncode == 1
    assert demo.left() == (set(), [])


def test_a_demo_without_a_sandbox_names_the_cause_at_its_first_line(tmp_path: Path) -> None:
    stub = tmp_path / "bwrap"
    stub.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "tests.e2e.story"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (1, "")
    first, remedy = done.stderr.splitlines()
    assert "No permissions to create new namespace" in first
    assert remedy.startswith("hive: try: ")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_demo_with_user_namespaces_switched_off_names_the_switch(tmp_path: Path) -> None:
    off = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", off, "sh", sys.executable, "-m", "tests.e2e.story"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "user namespaces are switched off" in done.stderr.splitlines()[0]
    assert "sysctl user.max_user_namespaces=15000" in done.stderr
