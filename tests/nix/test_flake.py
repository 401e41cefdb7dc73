"""flake.nix with the stub as its nixpkgs: outputs, packages, modules, the tests in virtual machines."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.nix.evaluate import HERE, ROOT, STUB, Evaluator, copy_of_the_repository

VM_TESTS = {"enable", "deploy", "bad-build", "unhealthy", "crash", "reboot", "isolation"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy of hive's flake, without what lies about in a checkout."""
    return f"path:{copy_of_the_repository(tmp_path_factory.mktemp('flake') / 'hive')}"


@pytest.fixture(scope="module")
def found(nix: Evaluator, url: str) -> Any:
    """Everything that is asked of the flake, in one evaluation."""
    return nix.flake(url, HERE / "flake-view.nix")


def test_the_flake_offers_what_it_says(found: Any) -> None:
    for system in ("x86_64-linux", "aarch64-linux"):
        assert set(found["packages"][system]) == {"hive", "hive-harness", "default"}
        assert set(found["apps"][system]) == {"demo", "default"}
        assert found["devShells"][system] == ["default"]
        assert set(found["checks"][system]) == {"hive", "hive-harness", *(f"vm-{name}" for name in VM_TESTS)}
    assert set(found["modules"]) == {"default", "agent"}
    assert found["overlay"] == ["hive", "hive-harness"]


def test_an_operator_needs_the_module_and_one_line(found: Any) -> None:
    host = found["host"]
    assert host["failed"] == []
    assert host["units"] == [
        "container@.service",
        "hive-egress.service",
        "hive-privileged.service",
        "hive-privileged.socket",
        "hive.service",
    ]
    assert host["hyperhive"].startswith("path:")
    assert "/nix/templates" not in host["hyperhive"]
    assert host["toplevel"] == "nixos-system-nixos-stub"


def test_an_agent_is_a_nixos_system_with_the_module(found: Any) -> None:
    assert found["agent"] == "nixos-system-alice-stub"


def test_the_package_is_an_environment_in_which_python_finds_hive(found: Any) -> None:
    package = found["package"]
    assert package["programs"] == ["hive", "hive-egress", "hive-harness", "hive-privileged"]
    assert package["meta"]["mainProgram"] == "hive"
    assert {"meta", "reconciler", "harness", "api", "pyproject.toml", "LICENSE"} <= set(package["source"])
    assert "tests" not in package["source"]


def test_the_packages_describe_themselves_as_nixpkgs_asks(found: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for meta, program in ((found["package"]["meta"], "hive"), (found["harnessMeta"], "hive-harness")):
        assert meta["mainProgram"] == program
        assert meta["license"]["spdxId"] == project["license"] == "MIT"
        assert meta["description"]
        assert meta["description"][-1] != "."
        assert meta["maintainers"] == []
    assert found["package"]["meta"]["description"] == project["description"]


def test_the_license_is_in_the_file_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (name,) = project["license-files"]
    assert (ROOT / name).read_text(encoding="utf-8").startswith("MIT License\n")


def test_the_package_carries_its_tests(found: Any) -> None:
    assert set(found["package"]["tests"]) == {"version", *VM_TESTS}


def test_nix_fmt_has_a_formatter(found: Any) -> None:
    assert set(found["formatter"].values()) == {"nixfmt-tree"}
    assert set(found["formatter"]) == {"x86_64-linux", "aarch64-linux"}


def test_python_packages_that_are_too_old_are_replaced(found: Any) -> None:
    versions = found["dependencies"]
    assert versions["gitpython"] == "3.2.1"
    assert versions["mcp"] == "2.3.0"
    assert versions["pydantic"] == "2.13.4"


def test_the_harness_package_has_nothing_of_the_daemons(found: Any) -> None:
    assert found["harness"] == ["h11", "pydantic"]


def test_no_lock_of_nixpkgs_is_committed() -> None:
    assert not (ROOT / "flake.lock").exists()


@pytest.mark.parametrize("name", sorted(VM_TESTS))
def test_the_machine_of_every_test_evaluates_and_its_script_is_python(found: Any, name: str) -> None:
    test = found["vms"][name]
    assert test["name"] == f"hive-{name}"
    assert test["failed"] == []
    assert "hive.service" in test["units"]
    assert "git" not in test["systemPackages"], "hive has to find git without it"
    compile(test["script"], name, "exec")
    assert test["script"].count("\nready()") + test["script"].count("\n    ready()") >= 1


def test_a_machine_has_what_a_build_without_a_network_reads_and_not_the_bootstrap_closure(found: Any) -> None:
    for name, test in found["vms"].items():
        assert test["bootstrap"] == [], name
        assert test["offline"] > 2


def test_every_file_of_a_test_in_a_machine_is_run() -> None:
    files = {path.stem for path in (ROOT / "nix/tests").glob("*.nix")} - {"default", "host"}
    assert files == VM_TESTS


def test_the_stub_builds_a_system_in_a_moment(nix: Evaluator, tmp_path: Path) -> None:
    """What the tests of builder `nix` rely on."""
    (tmp_path / "flake.nix").write_text(
        f"""{{
          inputs.nixpkgs.url = "path:{STUB}";
          outputs = inputs: {{
            nixosConfigurations.alice = inputs.nixpkgs.lib.nixosSystem {{
              modules = [ ({{ pkgs, ... }}: {{
                boot.isContainer = true;
                networking.hostName = "alice";
                environment.systemPackages = [ pkgs.hello ];
              }}) ];
            }};
          }};
        }}""",
        encoding="utf-8",
    )
    attribute = f"path:{tmp_path}#nixosConfigurations.alice.config.system.build.toplevel"
    nix.run("nix", "build", "--out-link", tmp_path / "result", attribute)
    assert (tmp_path / "result" / "init").stat().st_mode & 0o111
    summary = json.loads((tmp_path / "result" / "system.json").read_text(encoding="utf-8"))
    assert summary["host"] == "alice"
    assert any(package.endswith("-hello") for package in summary["packages"])
