"""nix/tests/real-tree.sh, against the stand-in for nixpkgs: that it evaluates everything, and notices what does not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nix.evaluate import ROOT, STUB, Evaluator
from tests.nix.real_tree import STEPS, address
from tests.nix.test_agent_module import PACKAGES

SCRIPT = ROOT / "nix/tests/real-tree.sh"


def run(nix: Evaluator, tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a store of the tests' own."""
    environment = {**nix.environment(), "PYTHON": sys.executable, "TMPDIR": str(nix.folder), **variables}
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
    plain, agent = PACKAGES
    assert f"agent-base has {agent} packages" in told["templates"]
    assert told["templates"].endswith(f"without templates {plain}")
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


@pytest.mark.parametrize("name", ["my nixpkgs", "nix?ref=a", "${x}", '"'])
def test_a_path_that_nix_would_not_take_is_refused(nix: Evaluator, tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    odd.mkdir()
    (odd / "flake.nix").touch()
    done = run(nix, odd)
    said = f"{odd} has characters that nix does not take in a path of a flake: move it to a plain path\n"
    assert (done.returncode, done.stdout) == (2, said)


def test_without_nix_the_script_names_what_is_missing(nix: Evaluator, tmp_path: Path) -> None:
    done = run(nix, STUB, PATH=without_nix(tmp_path))
    assert (done.returncode, done.stdout) == (2, "there is no `nix` on PATH: install it, or run this where it is\n")


def without_nix(folder: Path) -> str:
    """Return a PATH with what the script needs before it asks nix."""
    for program in ("sh", "realpath", "dirname", "git"):
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return str(folder)


def test_of_a_checkout_only_the_tracked_files_are_copied(tmp_path: Path) -> None:
    assert address(tmp_path) == f"path:{tmp_path}"
    (tmp_path / ".git").mkdir()
    assert address(tmp_path) == f"git+file://{tmp_path}?shallow=1"
