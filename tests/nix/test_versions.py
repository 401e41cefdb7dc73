"""The long version: everything that runs the real nix, again with the nix of other Debian suites."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = (
    *("tests/reconciler/builders", "tests/meta/desired/test_flake.py", "tests/nix/test_meta_flake.py"),
    *("tests/e2e/test_nix.py", "tests/e2e/test_nix_bad_input.py"),
)


@pytest.mark.full
@pytest.mark.nix
@pytest.mark.timeout(1050)
@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_another_nix_passes_the_same_tests(suite: str, tmp_path: Path) -> None:
    script = ROOT / "tests" / "nix" / "get-nix.sh"
    got = subprocess.run([script, suite, tmp_path / suite], capture_output=True, text=True, timeout=300)
    if got.returncode:
        pytest.skip(f"cannot get the nix of {suite}: {got.stderr[-300:]}")
    programs = tmp_path / suite / "bin"
    path = f"{programs}:{os.environ['PATH']}"  # a daemon takes the nix on its PATH
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "nix", *TESTS],
        cwd=ROOT,
        env={**os.environ, "HIVE_TEST_NIX": str(programs / "nix"), "PATH": path, "HIVE_FULL": "0"},
        capture_output=True,
        text=True,
        timeout=700,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout
