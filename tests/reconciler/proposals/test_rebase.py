"""A replay takes the place of the id it replays, and of nothing else, on a daemon that does nothing by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from meta.applied.pinning import Pinning
from meta.applied.source import Source, SourceKind
from meta.errors import Conflict
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId
from reconciler.daemon.daemon import Daemon
from reconciler.proposals import rebase as module

ALICE = AgentName("alice")
TOPIC = Source.of(SourceKind.PUSH, "topic")


async def proposed(daemon: Daemon, name: str, source: Source = TOPIC) -> Deploy:
    """A pending proposal that adds the file `name` to what is deployed."""
    applied = daemon.world.applied(ALICE)
    main = await applied.main()
    assert main is not None
    sha, staged = await applied.edit(main, name, b"text", f"add {name}", daemon.world.now())
    pinning = Pinning(DeployKind.APPLY_COMMIT, sha, main, sha, source, "test")
    return await daemon.service.proposals.pin(ALICE, pinning, staged=staged)


async def deployed(daemon: Daemon) -> None:
    """Deploy another commit, so that the pending ones are stale."""
    other = await proposed(daemon, "other", Source.of(SourceKind.SEED))
    await daemon.service.proposals.approve(other.id, "test")
    assert await daemon.service.loop.settled(ALICE, 30)
    assert await daemon.world.applied(ALICE).main() == other.sha


async def ended(daemon: Daemon, deploy: Deploy, state: TagState) -> None:
    await daemon.world.applied(ALICE).transition(deploy.id, state, by="test", at=daemon.world.now())


async def states(daemon: Daemon) -> dict[int, TagState]:
    return {deploy.id: deploy.state for deploy in await daemon.world.observer.refresh(ALICE, again=True)}


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[Any]]) -> None:
    """Do `act` after the commits were replayed and before the result is pinned."""
    replay: Any = vars(module)["replay"]

    async def replay_and_act(*words: Any) -> Any:
        result = await replay(*words)
        await act()
        return result

    monkeypatch.setattr(module, "replay", replay_and_act)


async def test_the_replay_of_a_failed_id_leaves_newer_work_of_its_branch_alone(daemon: Daemon) -> None:
    old = await proposed(daemon, "mine")
    await ended(daemon, old, TagState.APPROVED)
    await ended(daemon, old, TagState.FAILED)
    await deployed(daemon)
    newer = await proposed(daemon, "newer")
    new = (await daemon.service.rebase(old.id, "test")).deploy
    assert (new.source, new.rebased_from) == (f"failed/{old.id}", old.id)
    now = await states(daemon)
    assert (now[old.id], now[newer.id], now[new.id]) == (TagState.FAILED, TagState.PROPOSAL, TagState.PROPOSAL)
    with pytest.raises(Conflict, match=f"{old.id} is replayed already, as {new.id}"):
        await daemon.service.rebase(old.id, "test")


async def test_a_pending_id_gives_its_place_to_its_replay(daemon: Daemon) -> None:
    old = await proposed(daemon, "mine")
    await deployed(daemon)
    new = (await daemon.service.rebase(old.id, "test")).deploy
    assert (new.source, (await states(daemon))[old.id]) == (str(TOPIC), TagState.DENIED)


async def test_an_id_whose_commit_another_branch_proposes_stays(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await proposed(daemon, "mine", Source.of(SourceKind.WORK_TREE))
    await deployed(daemon)
    monkeypatch.setattr(daemon.service.proposals._branches, "of", lambda _: {TOPIC: old.sha})  # discovery notes others
    await daemon.service.rebase(old.id, "test")
    assert (await states(daemon))[old.id] is TagState.PROPOSAL


async def test_what_is_pushed_during_the_replay_is_not_superseded(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await proposed(daemon, "mine")
    await deployed(daemon)
    meanwhile(monkeypatch, lambda: proposed(daemon, "newer"))
    with pytest.raises(Conflict, match=rf"{old.id} is denied by now \(superseded by"):
        await daemon.service.rebase(old.id, "test")
    assert list((await states(daemon)).values()).count(TagState.PROPOSAL) == 1
    pushed = replace(old, id=ProposalId(old.id + 1))
    with pytest.raises(Conflict, match=f"{pushed.id} is newer than {old.id} and from the same branch"):
        module.check_current(old, (old, pushed))  # another branch proposes the old one too, so it was not superseded


async def test_what_is_denied_during_the_replay_stays_denied(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await proposed(daemon, "mine")
    await deployed(daemon)
    meanwhile(monkeypatch, lambda: daemon.service.proposals.deny(old.id, "test"))
    before = len(await states(daemon))
    with pytest.raises(Conflict, match=f"{old.id} is denied by now"):
        await daemon.service.rebase(old.id, "test")
    assert len(await states(daemon)) == before
