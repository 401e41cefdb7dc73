"""A builder whose previews never have the revision that hive compares: each proposal is still evaluated once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typing_extensions import override

from api.daemon.agent_sockets import AgentSockets
from meta.applied.pinning import Pinning
from meta.applied.source import Source, SourceKind
from meta.approval import Binding
from meta.config import Config
from meta.layout import Layout
from meta.model import DeployKind
from meta.names import AgentName, ProposalId, Sha
from meta.nix.summary import Summary
from reconciler.builders.base import BuildRequest, Preview
from reconciler.builders.plain import PlainBuilder
from reconciler.daemon import choices
from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")


class Elsewhere(PlainBuilder):
    """Previews on inputs that are never those that are configured, in a form of summaries that is never today's."""

    previews = True
    hive = "one"
    evaluated: list[ProposalId]

    @override
    async def revision(self, head: Sha) -> str:
        return self.hive

    @override
    async def shown(self, request: BuildRequest) -> Binding:
        return Binding(request.sha, "elsewhere", "another", "", request.settings.fingerprint())

    @override
    async def preview(self, request: BuildRequest) -> Preview:
        if request.id:  # else it is the seed, which runs, for the comparison
            self.evaluated.append(request.id)
        return Preview(await self.shown(request), Summary(form=0))


@pytest.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    """Yield a daemon with that builder and alice, which does nothing by itself."""
    monkeypatch.setattr(choices, "PlainBuilder", Elsewhere)
    monkeypatch.setattr(Elsewhere, "hive", "one")
    monkeypatch.setattr(Elsewhere, "evaluated", [], raising=False)
    layout, config = Layout(tmp_path / "s", tmp_path / "r"), Config.model_validate({"health_stable": 0.0})
    serving = asyncio.get_running_loop().create_future()
    sockets = AgentSockets(layout, config, serving)
    made = await Daemon.open(layout, config, sockets, choices.choose("fake", "plain"))
    serving.set_result(made.service)
    await made.service.spawns.begin(ALICE, "test")
    assert await made.service.loop.settled(ALICE, 30)
    yield made
    await made.close()
    await sockets.close_all()


async def propose(daemon: Daemon) -> ProposalId:
    applied = daemon.world.applied(ALICE)
    main = await applied.main()
    assert main is not None
    sha, staged = await applied.edit(main, "file", b"text", "add a file", daemon.world.now())
    source = Source.of(SourceKind.PUSH, "topic")
    pinning = Pinning(DeployKind.APPLY_COMMIT, sha, main, sha, source, "test")
    return (await daemon.service.proposals.pin(ALICE, pinning, staged=staged)).id


async def look(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.service.loop.look_now(ALICE)
        assert await daemon.service.loop.settled(ALICE, 30)


async def test_a_proposal_is_evaluated_once_under_each_revision_whatever_its_preview_shows(daemon: Daemon) -> None:
    id = await propose(daemon)
    await look(daemon)
    assert Elsewhere.evaluated == [id]
    Elsewhere.hive = "two"
    await daemon.world.meta.adopt(ALICE, None, disown=frozenset(), by="test", at=daemon.world.now())  # a new HEAD
    await look(daemon)
    assert Elsewhere.evaluated == [id, id]
