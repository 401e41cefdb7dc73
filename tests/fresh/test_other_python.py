"""The choice of another Python for `make test-other`: one that works, or none, which is no failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def other_python(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script with only these programs on PATH, and a pyenv of its own."""
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "PYENV_ROOT": f"{tmp_path}/pyenv"}
    environment["VENV_OTHER"] = f"{tmp_path}/venv"
    command = ["sh", "tests/support/other-python.sh", sys.executable, *words]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=50)


def stub(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def break_all(tmp_path: Path) -> None:
    """Put a shim before each Python of this machine that does not run, as pyenv has for versions not chosen."""
    for minor in range(11, 15):
        stub(tmp_path / f"bin/python3.{minor}", "echo 'pyenv: command not found' >&2; exit 127")


def test_without_another_python_it_says_so_and_succeeds(tmp_path: Path) -> None:
    break_all(tmp_path)
    done = other_python(tmp_path, "demo", "tests/none")
    assert done.returncode == 0
    assert "no other Python from 3.11 to 3.14" in done.stderr


def test_a_python_of_pyenv_is_taken_if_that_on_path_does_not_run(tmp_path: Path) -> None:
    break_all(tmp_path)
    own = f"3.{sys.version_info.minor}"
    version = next(f"3.{minor}" for minor in (14, 13, 12) if f"3.{minor}" != own)
    python = tmp_path / f"pyenv/versions/{version}.1/bin/python"
    stub(python, f'case "$1" in -V) echo "Python {version}.1";; -m) echo "stub: no venv" >&2; exit 3;; esac')
    done = other_python(tmp_path)
    assert f"also on Python {version}.1 ({python})" in done.stderr
    assert done.returncode == 3
