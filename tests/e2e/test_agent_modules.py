"""What the host's configuration declares, with real nix: modules for every agent, and one agent's own module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meta.names import AgentName
from tests.nix.evaluate import STUB, copy_of_the_repository
from tests.reconciler.builders.nix_host import NixStore
from tests.support.lab import Lab, fresh_lab

pytestmark = [pytest.mark.nix, pytest.mark.timeout(180)]
EVERYBODY = {"alice", "manager"}
MODULE = """{ pkgs, ... }:
{
  security.pki.certificateFiles = [ ./ca.pem ];
  environment.systemPackages = [ pkgs.vim ];
  environment.etc.version.text = "@version@";
  environment.etc.overlaid.text = pkgs.ours;
  environment.etc.unfree.text = if pkgs.config.allowUnfree then "allowed" else "refused";
  nixpkgs.overlays = [ (final: before: { ours = "${before.hello.pname} of the host"; }) ];
  nixpkgs.config.allowUnfree = true;
}
"""


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Yield a hive with alice and the modules of version A. No agent is declared."""
    tmp_path = tmp_path_factory.mktemp("declared")
    declare(tmp_path / "agents.json")
    store = NixStore.or_skip(tmp_path / "nix")
    settings = {
        "HIVE_NIXPKGS": f"path:{STUB}",
        "HIVE_HYPERHIVE": f"path:{copy_of_the_repository(tmp_path / 'hive')}",
        "HIVE_AGENT_MODULES": modules(tmp_path, "A"),
        "HIVE_DECLARED": str(tmp_path / "agents.json"),
        **store.environment,
    }
    try:
        with fresh_lab("am", settings, backend="fake", builder="nix", nix=True) as lab:
            lab.spawn("alice")
            yield lab
    finally:
        store.remove()


def declare(file: Path, **modules: Path) -> None:
    """Switch the host to a generation that declares these agents, each with its module."""
    new = file.with_suffix(".new")
    agents = {name: {"module": str(path)} for name, path in modules.items()}
    new.write_text(json.dumps({"version": 1, "agents": agents}), encoding="utf-8")
    new.chmod(0o644)
    new.rename(file)


def modules(folder: Path, version: str) -> str:
    """The URL of a folder as services.hive.agentModules makes it."""
    place = folder / f"modules-{version}"
    (place / "1").mkdir(parents=True)
    (place / "default.nix").write_text("{ imports = [ ./1 ]; }\n", encoding="ascii")
    (place / "1" / "default.nix").write_text(MODULE.replace("@version@", version), encoding="ascii")
    (place / "1" / "ca.pem").write_text("our CA", encoding="ascii")
    return f"path:{place}"


def switch(lab: Lab, url: str) -> None:
    """Switch the host to a generation with these modules."""
    lab.stop()
    lab.settings["HIVE_AGENT_MODULES"] = url
    lab.start()
    lab.until(lambda: (url in lab.git(lab.layout.meta_git, "show", "main:flake.nix")) if url else no_modules(lab))
    lab.settle()


def no_modules(lab: Lab) -> bool:
    return "modules = {" not in lab.git(lab.layout.meta_git, "show", "main:flake.nix")


def outdated(lab: Lab) -> set[str]:
    return {name for name, row in lab.agents().items() if row["built_with"]}


def system(lab: Lab, name: str) -> Any:
    """What the system that the agent runs was made of."""
    path = lab.layout.generations(AgentName(name)) / lab.agent(name)["generation"] / "system.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_hosts_modules_are_in_every_system_and_another_version_is_for_a_rebuild(hive: Lab, tmp_path: Path) -> None:
    for name in EVERYBODY:
        etc = system(hive, name)["etc"]
        assert etc["version"] == "A"
        assert etc["ssl/certs/ca-certificates.crt"] == "our CA"
        assert etc["overlaid"] == "hello of the host"
        assert etc["unfree"] == "allowed"
        assert any(package.endswith("-vim") for package in system(hive, name)["packages"])
    assert outdated(hive) == set()

    switch(hive, modules(tmp_path, "B"))
    assert outdated(hive) == EVERYBODY
    assert system(hive, "alice")["etc"]["version"] == "A"
    (condition,) = (each for each in hive.agent("alice")["conditions"] if "rebuild" in each)
    assert condition.startswith("built with agentModules sha256-")
    hive.do("alice", "rebuild")
    assert system(hive, "alice")["etc"]["version"] == "B"
    assert outdated(hive) == {"manager"}

    switch(hive, "")
    assert outdated(hive) == EVERYBODY
    assert hive.hive("rebuild", "--all", "--stale", "--wait").code == 0
    assert outdated(hive) == set()
    assert "version" not in system(hive, "alice")["etc"]


@pytest.mark.full
def test_a_declared_module_that_does_not_evaluate_leaves_the_agent_as_it_is_until_it_is_mended(
    hive: Lab, tmp_path: Path
) -> None:
    file, module = Path(hive.settings["HIVE_DECLARED"]), tmp_path / "bob.nix"
    module.write_text('{ environment.etc.declared.text = "one"; }\n', encoding="ascii")
    declare(file, bob=module)
    hive.until(lambda: hive.agents().get("bob", {}).get("declared") == "agrees")
    assert system(hive, "bob")["etc"]["declared"] == "one"
    before = hive.agent("bob")["generation"]

    wrong = tmp_path / "wrong.nix"
    wrong.write_text('{ networking.hostNaame = "x"; }\n', encoding="ascii")
    declare(file, bob=wrong)
    hive.until(lambda: hive.agent("bob")["declared"] == "failed")
    assert (hive.agent("bob")["phase"], hive.agent("bob")["generation"]) == ("running", before)
    assert "hostNaame" in hive.hive("history", "bob").out

    declare(file, bob=module)
    hive.until(lambda: hive.agent("bob")["declared"] == "agrees")
    assert hive.agent("bob")["generation"] == before
