"""What a program in a sandbox inherits from the session in which hive was started: nothing that was not chosen."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meta.process import launcher, sandbox
from tests.support.in_sandbox import PYTHON, SUPPORT, command, probe

KEY = "hive-test-session-key"
PYTHON_IGNORES = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to spoil a session and to be another user")
needs_bwrap = pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed")


def in_session(argv: list[str]) -> Any:
    """What the prober reports when `argv` runs it from a session full of odd settings."""
    spoil = [sys.executable, str(SUPPORT / "ambient_session.py"), KEY, *argv]
    done = subprocess.run(spoil, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["agent", "root", "user"])
def who(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(who: str) -> Any:
    return in_session(command(who, *probe("ambient_prober.py")))


@needs_root
def test_the_session_is_as_odd_as_the_tests_below_assume() -> None:
    seen = in_session([PYTHON, str(SUPPORT / "ambient_prober.py")])
    assert KEY in seen["keys"]
    assert (seen["groups"], seen["nice"], seen["oom"], seen["umask"]) == (["4242"], -5, 300, 0o077)
    assert 77 in seen["descriptors"]
    assert seen["blocked"]
    assert seen["personality"] == "4"


@needs_root
@needs_bwrap
def test_no_key_of_the_session_is_there(seen: Any) -> None:
    assert KEY not in seen["keys"]


@needs_root
@needs_bwrap
def test_signals_have_their_default_dispositions_and_none_is_blocked(seen: Any) -> None:
    assert seen["blocked"] == 0
    assert seen["ignored"] & ~PYTHON_IGNORES == 0


@needs_root
@needs_bwrap
def test_umask_directory_descriptors_and_environment_are_chosen(seen: Any) -> None:
    assert (seen["umask"], seen["cwd"]) == (0o022, "/")
    assert set(seen["descriptors"]) <= {0, 1, 2}
    assert seen["environment"] == ["PYTHONPATH"]


@needs_root
@needs_bwrap
def test_scheduling_and_the_out_of_memory_score_are_the_usual_ones(seen: Any) -> None:
    assert (seen["nice"], seen["policy"], seen["oom"]) == (0, os.SCHED_OTHER, 0)


@needs_root
@needs_bwrap
def test_limits_are_at_most_those_of_the_table(seen: Any) -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 524_288)
    assert (seen["core"], seen["nofile"]) == ([0, 0], [1024, hard])
    assert (seen["rtprio"], seen["rlimit nice"]) == ([0, 0], [0, 0])


@needs_root
@needs_bwrap
def test_addresses_are_randomized(seen: Any) -> None:
    assert seen["personality"] == ""


@needs_root
@needs_bwrap
def test_supplementary_groups_are_gone(seen: Any, who: str) -> None:
    assert seen["groups"] == []


def test_it_needs_nothing_but_the_standard_library_and_starts_fast() -> None:
    argv = [sys.executable, "-I", "-S", "-X", "importtime", str(sandbox.LAUNCHER), "", "/nonexistent"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert (done.returncode, "cannot start /nonexistent" in done.stderr) == (126, True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rsplit("|", 1)[1].strip() for line in lines}
    assert not loaded & {"typing", "pathlib", "asyncio", "subprocess", "meta", "reconciler", "pydantic", "logging"}


@pytest.mark.parametrize("name", list(launcher.LIMITS))
def test_every_limit_is_in_the_reference(name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "inheritance.md"
    assert f"RLIMIT_{name}" in page.read_text(encoding="utf-8")
