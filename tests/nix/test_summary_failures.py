"""What a card says of a system of which a part cannot be evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_core import to_json

from meta.desired.summary import SUMMARISE
from meta.nix.summary import Summary, compare, parse
from tests.nix.evaluate import HERE, Evaluator

FAILS = ": cannot be evaluated, read the patch"
LINES = {
    "port": ("number 2 of tcp", "+ open port tcp/80"),
    "ports": ("open port any of udp",),
    "range": ("open port number 1 of the ranges of tcp",),
    "firewall": ("open port any of the firewall", "+ open port tcp/80"),
    "interface": ("open port number 1 of tcp on eth1", "+ open port tcp/80 on eth1"),
    "key": ("ssh key number 1 of root", "+ ssh key of root: EVIL"),
    "user": ("user root", "+ user evil (uid 1)"),
    "password": ("password of user root",),
    "group": ("group wheel", "+ group evil (gid any u)"),
    "bind": ("bind number 1 on /a", "+ bind / on /b"),
    "file": ("file /etc/sudoers",),
    "target": ("file /etc/s",),
    "wrapper": ("setuid program a", "+ setuid program b"),
    "capability": ("capability any of a.service", "+ capability CAP of b.service"),
    "unit": ("unit a",),
    "units": ("unit all of them",),
    "rule": ("tmpfiles rule number 1 of the rules", "+ tmpfiles rule f /evil"),
    "setting": ("nix setting a", "+ nix setting trusted-users"),
    "package": ("package without a name", "+ package evil 1"),
    "script": ("activation script a",),
}
"""What fails, and a line that this must not hide."""


@pytest.fixture(scope="module")
def summaries(nix: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    """The summary of each config, from one evaluation."""
    folder: Path = tmp_path_factory.mktemp("failures")
    (folder / "summarise.nix").write_text(SUMMARISE, encoding="utf-8")
    found = nix.json(HERE / "failures.nix", folder=str(folder))
    return {name: parse(to_json(each)) for name, each in found.items()}


@pytest.mark.parametrize("name", LINES)
def test_what_throws_has_a_line_and_hides_nothing_beside_it(summaries: dict[str, Summary], name: str) -> None:
    what, *beside = LINES[name]
    lines = compare(None, summaries[name])
    assert [line for line in lines if line.endswith(f"{what}{FAILS}")]
    assert set(beside) <= set(lines)


@pytest.mark.parametrize("name", LINES)
def test_what_throws_has_a_line_although_it_threw_before(summaries: dict[str, Summary], name: str) -> None:
    lines = compare(summaries[name], summaries[name])
    assert [line for line in lines if line.endswith(f"{LINES[name][0]}{FAILS}")]


def test_a_whole_that_throws_has_a_line_although_it_threw_before(summaries: dict[str, Summary]) -> None:
    etc = summaries["etc"]
    assert "~ the files in /etc, in a way that no other line shows: read the patch" in compare(etc, etc)
