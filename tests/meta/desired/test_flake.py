"""flake.nix as rendered, the one-agent change of flake.lock, and real nix where it is installed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta import nix
from meta.applied.pinning import Pinning
from meta.applied.repo import Applied
from meta.applied.source import Source
from meta.desired.flake import nix_string, port, render, shared_urls
from meta.desired.repo import MetaRepo
from meta.errors import BadInput, BuildFailed
from meta.layout import Layout
from meta.model import AgentEntry, ContainerSettings, DeployKind, Desired, Pin, Role
from meta.names import AgentName, ProposalId, Sha
from tests.reconciler.builders.nix_host import NixStore

ALICE, BOB = AgentName("alice"), AgentName("bob")


def _entry(number: int = 1, sha: str = "1" * 40, uid: int = 524_288) -> AgentEntry:
    return AgentEntry(Pin(ProposalId(number), Sha(sha)), ContainerSettings(Role.AGENT, uid))


def _path(agent: AgentName) -> Path:
    return Path("/state/applied") / agent / ".git"


def test_each_agent_is_one_input_pinned_by_ref_and_rev() -> None:
    text = render(Desired(Sha("0" * 40), {BOB: _entry(2, "2" * 40), ALICE: _entry()}), _path).decode()
    assert text.index("agent-alice") < text.index("agent-bob")
    assert f'"git+file:///state/applied/bob/.git?ref=refs/tags/proposal/2&rev={"2" * 40}"; flake = false;' in text
    assert 'agents."alice" = "${inputs."agent-alice"}/agent.nix";' in text
    assert "nixpkgs" not in text


def test_with_nixpkgs_each_agent_is_a_system_with_its_identity() -> None:
    text = render(Desired(Sha("0" * 40), {ALICE: _entry()}), _path, "github:NixOS/nixpkgs", "path:/hive").decode()
    assert 'nixpkgs.url = "github:NixOS/nixpkgs";' in text
    assert 'nixosConfigurations."alice"' in text
    assert f'system.configurationRevision = "{"1" * 40}"' in text
    assert f'HIVE_PORT = "{port(_entry())}"' in text


def test_the_same_wishes_give_the_same_text() -> None:
    one = Desired(Sha("1" * 40), {ALICE: _entry(), BOB: _entry(2)})
    two = Desired(Sha("2" * 40), {BOB: _entry(2), ALICE: _entry()})
    assert render(one, _path) == render(two, _path)


def test_no_module_sees_the_inputs() -> None:
    text = render(Desired(Sha("0" * 40), {ALICE: _entry()}), _path, "github:NixOS/nixpkgs").decode()
    assert "specialArgs" not in text


def test_two_hundred_agents_are_rendered_alike_in_any_order_and_one_change_is_one_agents_lines() -> None:
    names = [AgentName(f"a{number}") for number in range(200)]
    agents = {name: _entry(number, f"{number:040x}", 524_288 + number * 65_536) for number, name in enumerate(names)}
    shuffled = {name: agents[name] for name in sorted(names, reverse=True)}
    one = render(Desired(Sha("1" * 40), agents), _path, "path:/n")
    assert render(Desired(Sha("2" * 40), shuffled), _path, "path:/n") == one
    moved = {**agents, names[77]: _entry(999, "f" * 40, agents[names[77]].settings.uid_base)}
    two = render(Desired(Sha("1" * 40), moved), _path, "path:/n")
    changed = set(two.splitlines()) - set(one.splitlines())
    assert len(changed) == 2
    assert all(b"a77" in line or b"f" * 40 in line for line in changed)


def test_a_path_cannot_break_out_of_its_string() -> None:
    text = render(Desired(Sha("0" * 40), {ALICE: _entry()}), lambda _: Path('/a"; evil = "${x}?ref=y&z#')).decode()
    assert "evil =" not in text
    assert "?ref=y" not in text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_string_ends_only_where_it_should(text: str) -> None:
    literal = nix_string(text)
    inner = literal[1:-1]
    back, at = [], 0
    while at < len(inner):
        assert inner[at] not in '"$\n'
        if inner[at] == "\\":
            at += 1
            back.append({"n": "\n", "r": "\r", "t": "\t"}.get(inner[at], inner[at]))
        else:
            back.append(inner[at])
        at += 1
    assert "".join(back) == text


@pytest.mark.parametrize("url", ["github:NixOS/nixpkgs/nixos-25.11", 'path:/a b/"$x\\n', ""])
def test_the_urls_of_the_shared_inputs_are_read_back(url: str) -> None:
    desired = Desired(Sha("0" * 40), {ALICE: _entry()})
    assert shared_urls(render(desired, _path, url, "path:/hive")) == (url, "path:/hive", "")
    assert shared_urls(render(desired, _path, "path:/n", url)) == ("path:/n", url, "")
    assert shared_urls(render(desired, _path, "path:/n", "path:/hive", url)) == ("path:/n", "path:/hive", url)
    assert shared_urls(b"{ }\xff") == ("", "", "")


def test_the_modules_for_every_agent_come_before_the_agents_own_and_only_with_nixpkgs() -> None:
    desired = Desired(Sha("0" * 40), {ALICE: _entry()})
    text = render(desired, _path, "path:/n", "path:/hive", "path:/m").decode()
    lines = ["/nix/templates/agent-base.nix", "${inputs.modules}/default.nix", '${inputs."agent-alice"}/agent.nix']
    places = [text.rindex(line) for line in lines]
    assert places == sorted(places)
    assert render(desired, _path, modules="path:/m") == render(desired, _path)


def test_a_nul_is_refused() -> None:
    with pytest.raises(BadInput):
        nix_string("a\0b")


# with nix
@pytest.fixture
def real_nix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nix.Nix:
    """The nix of the machine (or HIVE_TEST_NIX) with a store of its own, of which nothing is left."""
    program = shutil.which(os.environ.get("HIVE_TEST_NIX", "nix"))
    if program is None:
        pytest.skip("nix is not installed (apt-get install nix-bin)")
    store = NixStore.make(Path(program), tmp_path / "nix")
    monkeypatch.setenv("PATH", f"{Path(program).parent}:{os.environ['PATH']}")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    found = nix.find()
    assert found is not None
    return found


@pytest.mark.nix
@pytest.mark.timeout(120)
async def test_nix_locks_just_the_input_that_moved(
    real_nix: nix.Nix, layout: Layout, applied: Applied, child: Callable[[Sha, str], Sha]
) -> None:
    assert await real_nix.version() >= (2, 8, 0)

    async def lock(flake_dir: Path) -> None:
        await real_nix.lock(flake_dir, deadline=60)

    meta = MetaRepo(layout, lock_flake=lock)
    await meta.create(at=1)
    seed = await applied.seed()
    assert seed is not None
    shas = [seed, child(seed, "a = 1\n")]
    locks = []
    kind = DeployKind.SPAWN
    for number, sha in enumerate(shas):
        id = ProposalId(number)
        await applied.propose(
            id, Pinning(DeployKind.APPLY_COMMIT, sha, None, commit_ref="", source=Source.parse(""), by="m"), at=1
        )
        entry = (await meta.read()).desired.agents.get(ALICE)
        changed = replace(entry, pin=Pin(id, sha)) if entry else None
        await meta.candidate(ALICE, id, changed, pin=Pin(id, sha), role=Role.AGENT, by="hive", at=2)
        candidate = (await meta.read()).candidates[ALICE][id].entry
        await meta.commit_agent(ALICE, id, candidate, kind=kind, generation="0" * 20, by="hive", at=3, sha=sha)
        kind = DeployKind.APPLY_COMMIT
        locks.append(json.loads((layout.meta / "flake.lock").read_text())["nodes"]["agent-alice"]["locked"]["rev"])
    assert locks == shas
    assert list(layout.scratch.iterdir()) == []


@pytest.mark.nix
@pytest.mark.timeout(120)
async def test_two_approvals_at_once_never_lose_one(real_nix: nix.Nix, layout: Layout) -> None:
    async def lock(flake_dir: Path) -> None:
        await real_nix.lock(flake_dir, deadline=60)

    meta = MetaRepo(layout, lock_flake=lock)
    await meta.create(at=1)

    async def deploy(name: AgentName, id: ProposalId) -> Sha:
        repo = Applied(layout, name)
        sha = await repo.create({"agent.nix": b"{ }\n", "name": name.encode()}, at=1)
        await repo.propose(
            id, Pinning(DeployKind.SPAWN, sha, None, commit_ref="", source=Source.parse(""), by="m"), at=1
        )
        await meta.candidate(name, id, None, pin=Pin(id, sha), role=Role.AGENT, by="hive", at=2)
        entry = (await meta.read()).candidates[name][id].entry
        spawn = DeployKind.SPAWN
        await meta.commit_agent(name, id, entry, kind=spawn, generation="0" * 20, by="hive", at=3, sha=sha)
        return sha

    names = [ALICE, BOB, AgentName("carol"), AgentName("dave")]
    shas = await asyncio.gather(*(deploy(name, ProposalId(number)) for number, name in enumerate(names)))
    nodes = json.loads((layout.meta / "flake.lock").read_text())["nodes"]
    assert {name: nodes[f"agent-{name}"]["locked"]["rev"] for name in names} == dict(zip(names, shas, strict=True))


@pytest.mark.nix
async def test_nix_parses_what_is_rendered_and_names_what_is_wrong(real_nix: nix.Nix, tmp_path: Path) -> None:
    names = [AgentName(f"a{number}") for number in range(200)]
    hostile = '"; x = ${builtins.throw "no"} \\ \n'
    desired = Desired(Sha("0" * 40), {name: _entry(number) for number, name in enumerate(names)})
    file = tmp_path / "flake.nix"
    file.write_bytes(render(desired, lambda name: Path("/a") / hostile / name, hostile, hostile))
    await real_nix.parse(file)
    file.write_text("{ a = b; }")
    with pytest.raises(BuildFailed, match="undefined variable 'b'") as caught:
        await real_nix.parse(file)
    assert caught.value.log.startswith("error:")


@pytest.mark.nix
async def test_a_lock_that_fails_says_why(real_nix: nix.Nix, tmp_path: Path) -> None:
    (tmp_path / "flake.nix").write_text('{ inputs.x.url = "git+file:///nowhere"; outputs = _: { }; }')
    with pytest.raises(BuildFailed, match="nix flake lock: ") as caught:
        await real_nix.lock(tmp_path, deadline=60)
    assert "nowhere" in caught.value.log


def test_the_useful_end_of_a_trace_is_kept() -> None:
    assert (
        nix.evaluation_complaint("error:\n … while\n   error: undefined \x1b[31mx\n  at y")
        == "error: undefined x\n  at y"
    )
