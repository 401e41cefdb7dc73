"""docs/explanation/shared-paths.md has every path that a sandbox or a container binds, with tests that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.model import ContainerSettings, Role
from meta.names import MANAGER, AgentName, GenerationId
from meta.process import sandbox
from reconciler.backends.local import enclosure
from reconciler.backends.local.enclosure import Host, Subject, enclose
from reconciler.plan.observed import Launch
from reconciler.privileged import conf

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/shared-paths.md").read_text(encoding="utf-8")
ALICE = AgentName("alice")
PLAIN = sandbox.Host(bwrap="bwrap", setpriv="setpriv", root=True)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


BOUND, REACHED = rows("What a sandbox binds"), rows("What no sandbox binds, and an agent reaches otherwise")
RUN = rows("Sandboxes that hive itself runs on such paths")


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented(outside: str, inside: str) -> bool:
    """Whether a row has this bind; the file of a folder counts as the folder."""
    return any(
        inside in words(row[1]) and any(outside == path or outside.startswith(f"{path}/") for path in words(row[0]))
        for row in BOUND
    )


def local_binds(tmp_path: Path, agent: AgentName, role: Role) -> Iterator[tuple[str, str]]:
    """What backend local binds for an agent, beside the programs of the host."""
    layout, folder = Layout(tmp_path / "STATE", tmp_path / "RUN"), tmp_path / "STATE" / "backend" / "local" / "N"
    folder.mkdir(parents=True)
    settings = ContainerSettings(role, 700_000)
    launch = Launch(GenerationId("0" * 20), settings.fingerprint(), "n", 1.0)
    subject = Subject(agent, settings, launch, folder, layout.generations(agent) / "G" / "tree", "script")
    argv = enclose(layout, Config(), Host(True, PLAIN), subject, ["true"]).argv
    for option, outside, inside in zip(argv, argv[1:], argv[2:], strict=False):
        if option in ("--bind", "--ro-bind") and outside.startswith(str(tmp_path)):
            parts = Path(outside).relative_to(tmp_path).parts
            yield "/".join("N" if part == agent and part != MANAGER else part for part in parts), inside


@pytest.mark.parametrize(("agent", "role"), [(ALICE, Role.AGENT), (MANAGER, Role.MANAGER)])
def test_every_path_that_backend_local_binds_is_in_the_table(tmp_path: Path, agent: AgentName, role: Role) -> None:
    binds = [(re.sub(r"/manager/", "/N/", outside), inside) for outside, inside in local_binds(tmp_path, agent, role)]
    assert len(binds) >= 6
    assert [bind for bind in binds if not documented(*bind)] == []


def test_what_is_bound_beside_it_is_the_hosts_programs() -> None:
    source = Path(enclosure.__file__).read_text(encoding="utf-8")
    assert "sandbox.python_closure()" in source
    assert "one.bind for one in programs" in source


@pytest.mark.parametrize(("agent", "role"), [(ALICE, "agent"), (MANAGER, "manager")])
def test_every_path_that_a_container_of_backend_nixos_binds_is_in_the_table(agent: AgentName, role: str) -> None:
    binds = [*conf.binds(agent, role), conf.directory(agent, "proposed")]
    for bind in binds:
        top = "RUN" if bind.runtime else "STATE"
        parts = ("N" if part == agent and len(bind.parts) > 1 else part for part in bind.parts)
        inside = bind.inside.replace(f"/{agent}/", "/N/")
        assert documented("/".join((top, *parts)), inside), bind


def test_the_nix_modules_bind_nothing_by_themselves() -> None:
    scope = "nix/modules/agent/scope.nix"  # mounts of the container's own paths over themselves
    for path in {*(ROOT / "nix").rglob("*.nix")} - {ROOT / scope}:
        # of hive's runtime directory hive-egress.service, which is no container, sees this and nothing else
        text = path.read_text(encoding="utf-8").replace('BindPaths = "${runtime}/egress";', "")
        assert not re.search(r"bindMounts|BindPaths|BindReadOnlyPaths|extraFlags|--bind", text), path


@pytest.mark.parametrize("row", [*BOUND, *REACHED], ids=lambda row: row[0])
def test_each_row_names_tests_that_exist(row: list[str]) -> None:
    tests = [word for word in words(row[-1]) if word.startswith("test_")]
    assert tests, "a row without a test proves nothing"
    assert [test for test in tests if test not in TESTS] == []


def test_every_sandbox_that_hive_runs_is_in_the_table() -> None:
    documented = {word for row in RUN for word in words(row[2])}
    found = set()
    for folder in ("meta", "reconciler", "api", "harness"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(r"(?<!class )\bSandbox\(", path.read_text(encoding="utf-8")):
                found.add(str(path.relative_to(ROOT)))
    assert found == documented


def _tests() -> frozenset[str]:
    """The names of all tests, by pattern: parsing every test file costs seconds of each collection."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


TESTS = _tests()
