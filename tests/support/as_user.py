"""Tests that root runs again as an ordinary user, without groups and capabilities: what README does by default."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = 61_234
_BECOME = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
_TOP = Path(__file__).parents[2]


def run_tests_as_user(*words: str, deadline: float = 240) -> subprocess.CompletedProcess[str]:
    """Run pytest with `words` as an ordinary user."""
    with _home() as name:
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={name}/t"]
        return _run(name, ["-m", "pytest", *options, *words], deadline)


def run_as_user(*words: str, deadline: float = 60) -> subprocess.CompletedProcess[str]:
    """Run Python with `words` as an ordinary user."""
    with _home() as name:
        return _run(name, words, deadline)


@contextmanager
def _home() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="hive-user-", dir="/tmp") as name:
        os.chown(name, USER, USER)
        yield name


def _run(home: str, words: Sequence[str], deadline: float) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(_TOP), *(path for path in sys.path if path.endswith("-packages"))]),
    }
    command = [*_BECOME, _python(environment), *words]
    return subprocess.run(command, cwd=_TOP, env=environment, capture_output=True, text=True, timeout=deadline)


def _python(environment: dict[str, str]) -> str:
    """A Python that the user may run; that of the virtual environment may lie below /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in filter(None, (sys.executable, shutil.which(version, path="/usr/bin:/bin:/usr/local/bin"))):
        probe = [
            *_BECOME,
            "env",
            python,
            "-c",
            "import pytest, pydantic_core, os; os.listdir(os.path.dirname(os.__file__))",
        ]
        if subprocess.run(probe, env=environment, capture_output=True, timeout=30).returncode == 0:
            return python
    pytest.skip("there is no Python that an ordinary user may run")
