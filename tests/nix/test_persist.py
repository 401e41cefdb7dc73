"""The page for hosts that empty `/` at boot names every directory that hive's units keep something in."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.test_host_module import section

PAGE = ROOT / "docs/howto/nixos-host.md"
MADE_AT_BOOT = "/run/"


def rows() -> dict[str, set[str]]:
    """The table of the page: the writers of each directory."""
    text = PAGE.read_text(encoding="utf-8").partition("## Impermanence")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (`/[^|]+`) \| ([^|]+) \|", text, re.MULTILINE)
    return {path: set(writers.split(", ")) for paths, writers in found for path in re.findall(r"`([^`]+)`", paths)}


def kept(units: dict[str, str]) -> dict[str, set[str]]:
    """What each of hive's services may write and a boot does not make again."""
    found: dict[str, set[str]] = {}
    for name, text in units.items():
        if not name.startswith("hive") or not name.endswith(".service"):
            continue
        service = section(text, "Service")
        paths = [path for line in service.get("ReadWritePaths", []) for path in line.split()]
        paths += [f"/var/lib/{path}" for path in service.get("StateDirectory", [])]
        for path in paths:
            if not path.startswith(MADE_AT_BOOT):
                found.setdefault(path, set()).add(name)
    return found


@pytest.fixture(scope="module")
def units(nix: Evaluator) -> Any:
    """The units of a host with `services.hive.enable = true`."""
    return nix.json(HERE / "host.nix", hyperhive="path:/hive")["evaluated"]["plain"]["units"]


def test_the_page_names_what_the_units_write_and_no_more(units: Any) -> None:
    of_hive = {path: who for path, who in rows().items() if any(name.startswith("hive") for name in who)}
    assert of_hive == kept(units)


def test_the_example_binds_what_the_page_names_except_what_is_below_nix() -> None:
    text = PAGE.read_text(encoding="utf-8")
    example = text.partition("environment.persistence")[2].partition("\n    };\n")[0]
    bound = set(re.findall(r'"(/(?:etc|var)[^"]+)"', example))
    assert bound == {path for path in rows() if not path.startswith("/nix/")}
    assert 'files = [ "/etc/machine-id" ];' in example
