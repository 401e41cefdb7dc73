"""Fetches of proposals are bounded, whoever asks for how many at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import AsyncMock, MagicMock

import pytest

from meta.config import Config
from meta.errors import BadInput
from meta.layout import Layout
from meta.names import AgentName
from reconciler.proposals.commands import FETCHES, Proposals
from reconciler.proposals.deploys import Deploys

ALICE = AgentName("alice")


def proposals(tmp_path: Path) -> Proposals:
    """The commands of a hive that knows alice, up to the fetch."""
    desired = SimpleNamespace(agents={ALICE: object()})
    observer = SimpleNamespace(desired=AsyncMock(return_value=desired), refresh=AsyncMock(return_value=()))
    world = MagicMock(layout=Layout(tmp_path, tmp_path), config=Config(), observer=observer)
    world.applied.return_value.main = AsyncMock(return_value=None)
    return Proposals(world, MagicMock(), Deploys(world, MagicMock(), MagicMock()), MagicMock())


async def test_only_so_many_fetches_run_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, full, go = 0, 0, asyncio.Event(), asyncio.Event()

    async def fetch(*_: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running >= FETCHES:
            full.set()
        await go.wait()
        running -= 1
        raise BadInput("nothing there", "see `git log` there")

    monkeypatch.setattr("meta.proposed.quarantine.fetch.fetch", fetch)
    commands = proposals(tmp_path)
    asked = [asyncio.ensure_future(commands.propose(ALICE, "operator")) for _ in range(3 * FETCHES)]
    async with asyncio.timeout(10):
        await full.wait()
        go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["nothing there"] * len(asked)
    assert most == FETCHES


@pytest.mark.parametrize(("hint", "replaced"), [("see `git fsck` there", True), ("give the full commit id", False)])
async def test_a_damaged_work_tree_of_hives_own_has_its_own_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hint: str, replaced: bool
) -> None:
    monkeypatch.setattr("meta.proposed.quarantine.fetch.fetch", AsyncMock(side_effect=BadInput("broken", hint)))
    tree = Layout(tmp_path, tmp_path).proposed_config(ALICE)
    with pytest.raises(BadInput) as caught:
        await proposals(tmp_path).propose(ALICE, "operator")
    assert caught.value.hint == (f"move {tree} away, then `hive rebuild alice` makes a new one" if replaced else hint)


async def test_a_damaged_repo_of_somebody_elses_keeps_the_hint_about_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "meta.proposed.quarantine.fetch.fetch", AsyncMock(side_effect=BadInput("broken", "see `git fsck` there"))
    )
    with pytest.raises(BadInput) as caught:
        await proposals(tmp_path).propose(ALICE, "operator", source=tmp_path)
    assert caught.value.hint == "see `git fsck` there"
