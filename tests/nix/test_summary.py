"""What a card says of each change of a system: the table of docs/reference/summary.md, with real nix over the stub."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_core import to_json

from meta.desired.summary import SUMMARISE
from meta.nix.summary import Summary, compare, parse
from tests.nix.evaluate import HERE, ROOT, STUB, Evaluator

PAGE = ROOT / "docs" / "reference" / "summary.md"
ROWS = re.findall(r"^\| `(.+)` \| `(.+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
OTHERS = {
    "the commit": 'system.configurationRevision = "other";',
    "two": 'networking.firewall.allowedTCPPorts = [ 80 ]; system.systemBuilderCommands = "ln -s /x $out/y";',
    "by the commit": "networking.firewall.enable = config.system.configurationRevision == null;",
    "its tools": 'system = { configurationRevision = "other"; disableInstallerTools = false; };',
}
HARMLESS = {
    "etc": 'system.build.etc = lib.mkForce "/evil"; environment.etc.decoy.text = "x";',
    "path": 'system.path = lib.mkForce "/evil"; environment.systemPackages = [ pkgs.jq ];',
    "script": """
      system.dryActivationScript = "evil";
      system.activationScripts.decoy = "true";
    """,
    "toplevel": """
      system.build.toplevel = lib.mkForce (pkgs.git // { inherit (pkgs.jq) drvPath outPath; });
      environment.systemPackages = [ pkgs.jq ];
    """,
    "another toplevel": """
      system.build.toplevel = lib.mkForce pkgs.jq;
      environment.systemPackages = [ pkgs.jq ];
    """,
    "no attributes": """
      system.build.toplevel = lib.mkForce (removeAttrs pkgs.jq [ "drvAttrs" ]);
      environment.systemPackages = [ pkgs.jq ];
    """,
}
"""Evil changes, each beside a harmless one."""

FORGED = "~ the system is not the one that NixOS makes: read the patch"
_DIGEST = re.compile(r"\b[0-9a-f]{6,12}$")


@pytest.fixture(scope="module")
def summaries(nix: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> list[Summary]:
    """The summary of the base, of each row, and of the others, from one evaluation."""
    folder: Path = tmp_path_factory.mktemp("summaries")
    (folder / "summarise.nix").write_text(SUMMARISE, encoding="utf-8")
    (folder / "key").write_text("ssh-ed25519 BBBB", encoding="utf-8")
    modules = [*(module for module, _ in ROWS), *OTHERS.values(), *HARMLESS.values()]
    for number, module in enumerate(modules, 1):
        (folder / f"m{number}.nix").write_text(f"{{ config, pkgs, lib, ... }}: {{ {module} }}", encoding="utf-8")
    arguments = {"modules": str(len(modules)), "folder": str(folder), "nixpkgs": str(STUB)}
    return [parse(to_json(each)) for each in nix.json(HERE / "summaries.nix", **arguments)]


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_the_card_says_of_each_change_what_the_page_says(summaries: list[Summary], number: int) -> None:
    lines = compare(summaries[0], summaries[number + 1])
    assert _DIGEST.sub("DIGEST", ROWS[number][1]) in [_DIGEST.sub("DIGEST", line) for line in lines]
    assert compare(summaries[number + 1], summaries[number + 1]) == ((FORGED,) if ROWS[number][1] == FORGED else ())
    assert not summaries[0].is_same(summaries[number + 1])


def test_another_commit_of_the_same_system_is_the_same(summaries: list[Summary]) -> None:
    other = summaries[len(ROWS) + 1]
    assert compare(summaries[0], other) == ()
    assert summaries[0].is_same(other)


def test_what_a_module_does_only_if_the_system_names_a_commit_is_told(summaries: list[Summary]) -> None:
    assert "+ open port all (the firewall is off)" in compare(summaries[0], summaries[len(ROWS) + 3])


def test_a_system_with_a_tool_that_names_the_commit_is_another_one(summaries: list[Summary]) -> None:
    assert "+ package nixos-version 25.11" in compare(summaries[0], summaries[len(ROWS) + 4])


def test_a_change_that_is_hidden_behind_another_one_is_told_as_well(summaries: list[Summary]) -> None:
    assert compare(summaries[0], summaries[len(ROWS) + 2]) == (
        "+ open port tcp/80",
        "~ unit firewall.service",
        "~ file /etc/systemd/system",
        "~ the files in /etc as a whole: the lines above may not be all",
        "~ something else in the system changed: read the patch",
    )


def harmful(summaries: list[Summary], name: str) -> tuple[str, ...]:
    """Return the lines of one of HARMLESS."""
    return compare(summaries[0], summaries[1 + len(ROWS) + len(OTHERS) + list(HARMLESS).index(name)])


@pytest.mark.parametrize(
    ("name", "decoy", "line"),
    [
        ("etc", "+ file /etc/decoy", "~ the files in /etc as a whole: the lines above may not be all"),
        ("path", "+ package jq 0", "~ the packages as a whole: the lines above may not be all"),
        (
            "script",
            "+ activation script decoy",
            "~ the activation of the system as a whole: the lines above may not be all",
        ),
        ("toplevel", "+ package jq 0", FORGED),
        ("no attributes", "+ package jq 0", FORGED),
        ("another toplevel", "+ package jq 0", "~ something else in the system changed: read the patch"),
    ],
)
def test_a_harmless_line_hides_nothing(summaries: list[Summary], name: str, decoy: str, line: str) -> None:
    assert {decoy, line} <= set(harmful(summaries, name))


def test_only_a_forged_system_is_called_so(summaries: list[Summary]) -> None:
    forged = [module for each, (module, _) in zip(summaries[1:], ROWS, strict=False) if FORGED in compare(None, each)]
    assert forged == [module for module, line in ROWS if line == FORGED]


def test_the_page_has_every_change_that_was_once_missed() -> None:
    assert len(ROWS) > 40
