"""What services.hive.agentModules gives reaches every agent's system, with real nix, and a change of it is outdated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meta.names import AgentName
from meta.process import sandbox
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


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Lab]:
    """Yield a hive with alice and the modules of version A."""
    program = shutil.which("nix")
    if program is None:
        pytest.skip("nix is not installed (apt-get install nix-bin)")
    if sandbox.available() is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    store = NixStore.make(Path(program), tmp_path / "nix")
    settings = {
        "HIVE_NIXPKGS": f"path:{STUB}",
        "HIVE_HYPERHIVE": f"path:{copy_of_the_repository(tmp_path / 'hive')}",
        "HIVE_AGENT_MODULES": modules(tmp_path, "A"),
        **store.environment,
    }
    try:
        with fresh_lab("am", settings, backend="fake", builder="nix", nix=True) as lab:
            lab.spawn("alice")
            yield lab
    finally:
        store.remove()


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
