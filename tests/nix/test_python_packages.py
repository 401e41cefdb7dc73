"""The Python packages of hive's Nix package: all of pyproject.toml, none too old, hive's own if nixpkgs has none."""

from __future__ import annotations

import base64
import re
import tomllib

import pytest

from tests.nix.evaluate import HERE, ROOT, Evaluator, NixFailed
from tests.support.floors import floors as installed_oldest

PYTHON_NIX = (ROOT / "nix/packages/python.nix").read_text(encoding="utf-8")
PINNED = re.findall(r'pname = "([^"]+)";\s+version = "([^"]+)";.*?hash = "sha256-([^"]+)"', PYTHON_NIX, re.DOTALL)
RELEASES = ["25.11", "26.05", "26.11"]


def floors() -> dict[str, str]:
    """Return the oldest version of each dependency in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(requirement.split(",")[0].split(">=") for requirement in project["dependencies"])


def number(version: str) -> tuple[int, ...]:
    """Return a version as what can be compared."""
    return tuple(int(part) for part in version.split("."))


@pytest.fixture(scope="module")
def releases(nix: Evaluator) -> dict[str, list[tuple[str, str]]]:
    """The name and version of each package, by release. One twice in an environment would not build."""
    packages = {release: nix.json(HERE / "releases.nix", release=release) for release in RELEASES}
    return {
        release: [(one["pname"].replace("_", "-"), one["version"]) for one in found]
        for release, found in packages.items()
    }


def test_the_oldest_versions_are_those_of_the_project(nix: Evaluator) -> None:
    assert nix.json(ROOT / "nix/packages/floors.nix") == floors()


def test_the_run_with_the_oldest_versions_installs_them_all() -> None:
    assert floors().items() <= installed_oldest().items()


@pytest.mark.parametrize("release", RELEASES)
def test_every_dependency_is_there_and_new_enough(releases: dict[str, list[tuple[str, str]]], release: str) -> None:
    versions = dict(releases[release])
    for name, floor in floors().items():
        assert number(versions[name]) >= number(floor), name
    assert number(versions.get("sse-starlette", "3.0")) >= (3, 0), "mcp needs it"


@pytest.mark.parametrize("release", RELEASES)
def test_no_package_is_there_in_two_versions(releases: dict[str, list[tuple[str, str]]], release: str) -> None:
    assert len({name for name, _ in releases[release]}) == len(set(releases[release]))


def test_what_nixpkgs_has_new_enough_is_taken_from_there(releases: dict[str, list[tuple[str, str]]]) -> None:
    assert {("dbus-fast", "5.0.22"), ("litestar", "2.21.1"), ("structlog", "26.1.0")} <= set(releases["26.05"])
    assert ("mcp", "2.2.0") in releases["26.11"]


def test_a_release_without_a_package_that_hive_does_not_bring_is_refused_with_the_way_out(nix: Evaluator) -> None:
    message = r"hive needs pydantic 2\.12\.2 or later, and this nixpkgs has 2\.11\.5: follow nixpkgs 26\.05"
    for file in ("hive.nix", "hive-harness.nix"):
        with pytest.raises(NixFailed, match=message):
            nix.json(HERE / "releases.nix", release="25.05", of=file)


def test_the_harness_needs_only_h11_and_pydantic_of_a_release(nix: Evaluator) -> None:
    packages = nix.json(HERE / "releases.nix", release="25.11", of="hive-harness.nix")
    assert [one["pname"] for one in packages] == ["h11", "pydantic"]


@pytest.mark.parametrize(("name", "version", "hash"), PINNED)
def test_what_hive_brings_is_what_the_tests_run_with(name: str, version: str, hash: str) -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    block = lock.partition(f"\n{name.replace('_', '-')}=={version} ")[2].partition("\n    # via")[0]
    assert f"sha256:{base64.b64decode(hash).hex()}" in block


def test_every_package_that_hive_brings_is_pinned() -> None:
    assert len(PINNED) == PYTHON_NIX.count("fetchPypi {") + PYTHON_NIX.count("= wheel {") - 1
