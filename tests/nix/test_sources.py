"""What a commit of hive changes on a host: nothing, the daemon, or the agents as well."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.nix.evaluate import HERE, ROOT, STUB, Evaluator, copy_of_the_repository

COMMITS = {
    "first": (),
    "pages": ("docs/page.md", "README.md", "CHANGELOG.md", "tests/test_new.py", "nix/tests/enable.nix", "flake.nix"),
    "command": ("api/cli/main.py",),
    "daemon": ("reconciler/world.py",),
    "helper": ("nix/modules/host/privileged.nix",),
    "harness": ("harness/cli.py",),
    "template": ("nix/templates/harness-base.nix",),
}
"""Which files each commit changes, on top of the one before."""

FLAKE = """{{
  inputs.nixpkgs.url = "path:{stub}";
  {inputs}
  outputs = inputs: {{
    view = import ./view.nix {{ inherit (inputs) nixpkgs; commits = removeAttrs inputs [ "nixpkgs" "self" ]; }};
  }};
}}"""


@pytest.fixture(scope="module")
def found(nix: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The host and an agent at each commit, in one evaluation."""
    folder = tmp_path_factory.mktemp("sources")
    repo = copy_of_the_repository(folder / "hive")
    nix.run("git", "-C", repo, "init", "-q")
    inputs = []
    for name, files in COMMITS.items():
        for file in files:
            (repo / file).parent.mkdir(parents=True, exist_ok=True)
            with (repo / file).open("a", encoding="utf-8") as text:
                text.write("# changed\n")
        nix.run("git", "-C", repo, "add", "-A")
        identity = ("-c", "user.name=hive", "-c", "user.email=hive@localhost")
        nix.run("git", "-C", repo, *identity, "commit", "-q", "--allow-empty", "-m", name)
        nix.run("git", "-C", repo, "branch", name)
        commit = nix.run("git", "-C", repo, "rev-parse", "HEAD").strip()
        inputs.append(f'inputs.{name} = {{ url = "git+file://{repo}?ref={name}&rev={commit}";')
        inputs.append('  inputs.nixpkgs.follows = "nixpkgs"; };')
    user = folder / "user"
    user.mkdir()
    (user / "flake.nix").write_text(FLAKE.format(stub=STUB, inputs="\n  ".join(inputs)), encoding="utf-8")
    (user / "view.nix").write_bytes((HERE / "revisions.nix").read_bytes())
    return dict(json.loads(nix.run("nix", "eval", "--json", f"path:{user}#view")))


def test_a_commit_of_pages_and_tests_changes_nothing_on_a_host(found: dict[str, Any]) -> None:
    assert found["pages"] == found["first"]


@pytest.mark.parametrize(("commit", "before"), [("command", "pages"), ("daemon", "command")])
def test_a_commit_of_the_daemon_restarts_it_and_outdates_no_agent(
    found: dict[str, Any], commit: str, before: str
) -> None:
    old, new = found[before], found[commit]
    assert new["units"] != old["units"]
    assert (new["settings"], new["agent"]) == (old["settings"], old["agent"])


def test_a_commit_of_the_helper_changes_its_unit_and_no_agent(found: dict[str, Any]) -> None:
    assert found["helper"]["settings"] == found["daemon"]["settings"]


@pytest.mark.parametrize(("commit", "before"), [("harness", "helper"), ("template", "harness")])
def test_a_commit_of_what_agents_are_made_of_changes_the_input_of_metas_flake(
    found: dict[str, Any], commit: str, before: str
) -> None:
    old, new = found[before], found[commit]
    assert new["settings"] != old["settings"]
    assert new["input"] != old["input"]


def test_a_change_of_the_harness_changes_an_agents_system(found: dict[str, Any]) -> None:
    assert found["harness"]["agent"] != found["helper"]["agent"]


def test_the_input_of_metas_flake_has_what_agents_are_made_of_and_no_more(found: dict[str, Any]) -> None:
    top = {path.name for path in Path(found["first"]["input"]).iterdir()}
    assert top - {"LICENSE"} == {"pyproject.toml", "meta", "harness", "nix"}
    nix = {path.name for path in (Path(found["first"]["input"]) / "nix").iterdir()}
    assert nix == {"modules", "packages", "templates"}


def test_a_nixpkgs_in_the_store_is_taken_as_it_is_and_kept(found: dict[str, Any]) -> None:
    (path,) = re.findall(r'HIVE_NIXPKGS="path:(\S+)"', found["first"]["settings"])
    assert re.fullmatch(r"/.*/store/[a-z0-9]{32}-source", path), "copied there again under another name"
    assert path in found["first"]["kept"]


@pytest.mark.parametrize(
    ("part", "packages"), [("hive", {"api", "harness", "meta", "reconciler"}), ("harness", {"harness", "meta"})]
)
def test_the_files_of_a_part_are_enough_for_its_wheel(
    nix: Evaluator, tmp_path: Path, part: str, packages: set[str]
) -> None:
    expression = (
        f"let source = import {ROOT}/nix/packages/source.nix {{ lib = import {STUB}/lib; }};"
        f" in {{ files = source.{part}.outPath; inherit (source) postPatch; }}"
    )
    words = ("nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", "--expr", expression)
    made = json.loads(nix.run(*words))
    shutil.copytree(made["files"], tmp_path / "files", copy_function=shutil.copyfile)
    subprocess.run(["chmod", "-R", "u+w", tmp_path / "files"], check=True)
    build = f"{made['postPatch']} && {sys.executable} -m hatchling build -t wheel -d {tmp_path}/wheel"
    done = subprocess.run(["sh", "-c", build], cwd=tmp_path / "files", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheel").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == packages
