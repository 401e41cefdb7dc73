"""nix/tests/real-tree.sh, against the stand-in for nixpkgs: that it evaluates everything, and notices what does not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.nix.evaluate import ROOT, STUB, Evaluator
from tests.nix.real_tree import STEPS, address

SCRIPT = ROOT / "nix/tests/real-tree.sh"


def run(nix: Evaluator, tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with a store of the tests' own."""
    environment = {**nix.environment(), "PYTHON": sys.executable, "TMPDIR": str(nix.folder)}
    return subprocess.run(
        [SCRIPT, tree], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def lines(output: str) -> dict[str, str]:
    """Return what each step printed."""
    return dict(re.findall(r"^(\w+) +[\d.]+ s  (.*)$", output, re.MULTILINE))


def test_everything_evaluates_against_the_stand_in(nix: Evaluator) -> None:
    done = run(nix, STUB)
    assert done.returncode == 0, done.stdout + done.stderr
    told = lines(done.stdout)
    assert list(told) == list(STEPS)
    assert re.fullmatch(r"(\d+) of \1", told["refusals"])
    assert "agent-base has 34 packages" in told["templates"]
    assert "nixos-system-manager-stub.drv" in told["agents"]
    assert re.match(r"\d+ bytes, [1-9]\d* packages", told["summary"])


def test_a_nixpkgs_that_is_too_old_is_named_with_the_remedy(nix: Evaluator, tmp_path: Path) -> None:
    old = tmp_path / "nixpkgs"
    shutil.copytree(STUB, old)
    basics = old / "lib" / "basics.nix"
    text = basics.read_text(encoding="utf-8")
    basics.write_text(text.replace('trivial.release = "25.11"', 'trivial.release = "24.05"'), encoding="utf-8")
    done = run(nix, old)
    assert done.returncode == 1
    assert "this nixpkgs is 24.05, and services.hive needs 25.11 or later" in done.stdout
    assert "this nixpkgs is 24.05, and hive.agent needs 25.11 or later" in done.stdout
    assert "failed: host, agents" in done.stdout


def test_a_folder_that_is_no_nixpkgs_is_refused(nix: Evaluator, tmp_path: Path) -> None:
    done = run(nix, tmp_path)
    assert (done.returncode, done.stdout) == (2, f"{tmp_path} is no nixpkgs: it has no flake.nix\n")


def test_of_a_checkout_only_the_tracked_files_are_copied(tmp_path: Path) -> None:
    assert address(tmp_path) == f"path:{tmp_path}"
    (tmp_path / ".git").mkdir()
    assert address(tmp_path) == f"git+file://{tmp_path}?shallow=1"
