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
from meta.model import Deploy
from meta.names import OPERATOR, AgentName
from meta.proposed.quarantine.fetch import FetchRequest
from reconciler.proposals.branches import Branches
from reconciler.proposals.commands import Proposals
from reconciler.proposals.deploys import Deploys
from reconciler.proposals.fetches import SLOTS

ALICE = AgentName("alice")


def proposals(tmp_path: Path) -> Proposals:
    """The commands of a hive that knows every agent, up to the fetch."""
    desired = SimpleNamespace(agents=MagicMock(__contains__=lambda *_: True))
    refresh = AsyncMock(return_value=())
    observer = SimpleNamespace(desired=AsyncMock(return_value=desired), refresh=refresh, check=lambda _: None)
    world = MagicMock(layout=Layout(tmp_path, tmp_path), config=Config(), observer=observer)
    world.applied.return_value.main = AsyncMock(return_value=None)
    return Proposals(world, MagicMock(), Deploys(world, MagicMock(), MagicMock()), MagicMock(), Branches())


class Asked:
    """Fetches of one service, each named by who asked and for which agent. They run until `go` is set."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running: list[Path] = []
        self.changed = asyncio.Event()
        self.go = asyncio.Event()
        self._commands = proposals(tmp_path)
        monkeypatch.setattr("meta.proposed.quarantine.fetch.fetch", self._fetch)

    async def _fetch(self, request: FetchRequest, *_: object) -> None:
        self.running.append(request.source)
        self.changed.set()
        await self.go.wait()
        raise BadInput("nothing there", "see `git log` there")

    def propose(self, by: str, agent: AgentName, name: str) -> asyncio.Future[Deploy]:
        return asyncio.ensure_future(self._commands.propose(agent, by, source=Path(name)))

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(10):
            while not {Path(name) for name in names} <= set(self.running):
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A service whose fetches wait."""
    return Asked(tmp_path, monkeypatch)


async def test_only_so_many_fetches_of_one_principal_run_at_the_same_time(asked: Asked) -> None:
    agents = (AgentName(f"a{number}") for number in range(3 * SLOTS[OPERATOR]))
    fetches = [asked.propose("operator", agent, agent) for agent in agents]
    await asked.until("a0", "a1")
    assert len(asked.running) == SLOTS[OPERATOR]
    asked.go.set()
    answers = await asyncio.gather(*fetches, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["nothing there"] * len(fetches)


async def test_the_operator_and_a_push_never_wait_behind_the_managers_work_trees(asked: Asked) -> None:
    fetches = [asked.propose("manager", AgentName(f"a{number}"), f"tree{number}") for number in range(9)]
    await asked.until("tree0")
    fetches += [asked.propose("operator uid 1000", ALICE, "mine"), asked.propose("push by uid 7", ALICE, "pushed")]
    await asked.until("mine", "pushed")
    asked.go.set()
    await asyncio.gather(*fetches, return_exceptions=True)


async def test_one_agents_repo_holds_one_slot_of_the_operator_at_most(asked: Asked) -> None:
    fetches = [asked.propose("operator", ALICE, f"slow{number}") for number in range(5)]
    await asked.until("slow0")
    fetches.append(asked.propose("operator", AgentName("bob"), "bob"))
    await asked.until("bob")
    assert len(asked.running) == 2
    asked.go.set()
    await asyncio.gather(*fetches, return_exceptions=True)


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
