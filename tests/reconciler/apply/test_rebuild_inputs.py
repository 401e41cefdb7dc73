"""A rebuild on other shared inputs: what was compared with the system from before it is evaluated again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meta.approval import Binding
from meta.layout import Layout
from meta.model import Desired, Generation
from meta.names import AgentName, ProposalId
from reconciler.apply.host import HostSteps
from reconciler.builders.base import BuildRequest
from reconciler.observe.previews import Previewed, Previews
from reconciler.plan import steps
from reconciler.world import World
from tests.support.plan_model import SETTINGS, entry, generation, sha

ALICE, PINNED, OPEN = AgentName("alice"), ProposalId(7), ProposalId(8)


@pytest.mark.parametrize("moved", [True, False], ids=["on other inputs", "on the same inputs"])
async def test_a_rebuild_drops_the_previews_if_it_was_on_other_inputs(tmp_path: Path, moved: bool) -> None:
    previews = Previews(Layout(tmp_path / "s", tmp_path / "r"))
    for id in (PINNED, OPEN):
        previews.write(ALICE, id, Previewed(Binding(sha(1), "", "", "", "s")), frozenset({PINNED, OPEN}))

    async def build(_: BuildRequest) -> Generation:
        return generation(7)

    async def settle(_: int) -> bool:
        return False

    async def read() -> SimpleNamespace:
        return SimpleNamespace(desired=Desired(sha(1), {ALICE: entry(7)}))

    async def note_rebuild(*_: object, **__: object) -> bool:
        return moved

    meta = SimpleNamespace(settle=settle, read=read, note_rebuild=note_rebuild)
    world = SimpleNamespace(previews=previews, meta=meta, builds=asyncio.Semaphore(1), now=lambda: 1)
    builder = SimpleNamespace(previews=True, build=build)
    hosts = HostSteps(cast("World", world), cast("Any", None), cast("Any", builder))
    await hosts._build(ALICE, steps.Reapply(PINNED, sha(7), SETTINGS, sha(1), 1))
    assert set(previews.of(ALICE)) == (set() if moved else {PINNED, OPEN})
