"""What browsers are served from npm: the lock that `make setup` uses, and the list of hive's Nix package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.nix.evaluate import ROOT, STUB, Evaluator

LOCKS = [ROOT / "api/ui/assets/package-lock.json", ROOT / "tests/support/axe/package-lock.json"]
FETCHING = (ROOT / "tests/support/get-assets.sh").read_text(encoding="utf-8")


def locked(path: Path) -> dict[str, dict[str, Any]]:
    """Return the packages of a lock by name, without the one that asks for them."""
    packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
    return {name.removeprefix("node_modules/"): one for name, one in packages.items() if name}


def test_nix_fetches_the_packages_of_the_lock_with_their_hashes(nix: Evaluator) -> None:
    expression = (
        f"let pkgs = import {STUB}/pkgs.nix {{ lib = import {STUB}/lib; system = builtins.currentSystem; }};"
        f" assets = pkgs.callPackage {ROOT}/nix/packages/assets.nix {{ }};"
        " in map (one: one.asked) (builtins.attrValues assets.packages)"
    )
    asked = json.loads(nix.run("nix-instantiate", "--eval", "--strict", "--json", "--expr", expression))
    parts = [re.fullmatch(r"mirror://npm/(.+)/-/\1-(.+)\.tgz", one["url"]) for one in asked]
    fetched = {part[1]: (part[2], one["hash"]) for part, one in zip(parts, asked, strict=True) if part}
    assert fetched == {name: (one["version"], one["integrity"]) for name, one in locked(LOCKS[0]).items()}


def test_nix_takes_the_files_out_of_them_that_the_set_up_takes() -> None:
    (line,) = re.findall(r"files='(htmx.+)'", FETCHING)
    names = [Path(file).name for file in line.split()]
    copied = re.findall(r"[\w./-]+\.min\.(?:js|css)", (ROOT / "nix/packages/assets.nix").read_text(encoding="utf-8"))
    assert sorted(Path(file).name for file in copied) == sorted(names)


@pytest.mark.parametrize("lock", LOCKS, ids=["pages", "axe"])
def test_a_lock_names_no_registry_runs_no_script_and_holds_each_hash(lock: Path) -> None:
    assert "resolved" not in lock.read_text(encoding="utf-8"), "each machine has its own registry"
    wanted = json.loads(lock.with_name("package.json").read_text(encoding="utf-8"))["dependencies"]
    assert wanted == {name: one["version"] for name, one in locked(lock).items()}, "exact versions, and no others"
    for one in locked(lock).values():
        assert one["integrity"].startswith("sha512-")
        assert "hasInstallScript" not in one


def test_what_was_fetched_is_in_the_wheel_though_git_ignores_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        vendor = {name.rpartition("/")[2] for name in archive.namelist() if name.startswith("api/ui/vendor/")}
    fetched = {path.name for path in (ROOT / "api/ui/vendor").iterdir()}
    assert "htmx.min.js" in fetched, "make assets fetches it"
    assert vendor == fetched
