"""The hosts on which the contract of builders is tried: one class per builder, all with the same face.

A later builder adds a class and its name to BUILDERS; the tests stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from meta.applied.repo import Applied
from meta.config import Config
from meta.git.objects import commit, snapshot
from meta.git.transaction import ABSENT, RefChange
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Role
from meta.names import AgentName, ProposalId, Sha
from reconciler.builders.base import BuildRequest
from reconciler.builders.plain import PlainBuilder
from tests.reconciler.builders.nix_host import NixHost, NixStore


class PlainHost:
    """Builder `plain` over real applied repos."""

    def __init__(self, tmp_path: Path) -> None:
        self.layout = Layout(tmp_path / "state", tmp_path / "run")
        self.config = Config.model_validate({"keep_generations": 2})
        self.settings = ContainerSettings(Role.AGENT, 600_000)
        self._count = 0
        self.builder = self.make("1.0")

    def make(self, revision: str) -> PlainBuilder:
        """A new object, as a daemon of that revision makes it."""
        return PlainBuilder(self.layout, self.config, lambda agent: Applied(self.layout, agent), revision)

    async def commit(self, agent: AgentName, files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> Sha:
        """A commit with these files in the agent's applied repo."""
        applied = Applied(self.layout, agent)
        await applied.create({"README": b"seed"}, 1)
        tree, objects = snapshot(files, modes or {})
        made = commit(tree, (), "test", 2)
        self._count += 1
        await applied.repo.transaction(
            [RefChange(f"refs/hive/test-{self._count}", new=made.id, old=ABSENT)], [*objects, made]
        )
        return made.id

    def request(self, agent: AgentName, id: int, sha: Sha) -> BuildRequest:
        """Build it under this id."""
        return BuildRequest(agent, ProposalId(id), sha, self.settings, Sha("c" * 40))

    def good(self, note: str = "") -> dict[str, bytes]:
        """Files that build; another note makes another commit."""
        return {"agent.toml": b'runtime = "script"\n', "note": note.encode(), "agent.nix": b"{ ... }: { }\n"}

    def damage(self, generation: Generation) -> None:
        """Somebody deletes the generation by hand."""
        self._open(generation)
        shutil.rmtree(generation.system)

    def tamper(self, generation: Generation) -> None:
        """Somebody edits the generation by hand."""
        self._open(generation)
        note = generation.system / "tree" / "note"
        note.chmod(0o644)
        note.write_text("edited")

    def intact(self, generation: Generation, note: str) -> bool:
        """Whether it holds what `good(note)` says."""
        path = generation.system / "tree" / "note"
        return path.exists() and path.read_text() == note

    def _open(self, generation: Generation) -> None:
        for folder in (generation.system, generation.system / "tree"):
            folder.chmod(0o755)


def _nix(tmp_path: Path, request: pytest.FixtureRequest) -> NixHost:
    """The store is asked for only here, so that without nix the other builders are tried all the same."""
    store: NixStore = request.getfixturevalue("nix_store")
    return NixHost(tmp_path, store)


BUILDERS: dict[str, Callable[[Path, pytest.FixtureRequest], PlainHost | NixHost]] = {
    "nix": _nix,
    "plain": lambda tmp_path, _: PlainHost(tmp_path),
}
MARKS = {"nix": [pytest.mark.nix]}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, [])) for name in sorted(BUILDERS)])
def builder_host(request: pytest.FixtureRequest, tmp_path: Path) -> PlainHost | NixHost:
    """Each builder in turn, with nothing built."""
    return BUILDERS[request.param](tmp_path, request)
