"""Where git and the declaration differ: what hive does by itself, and what a person decides."""

from __future__ import annotations

import pytest

from meta.model import TagState
from meta.names import ProposalId
from tests.reconciler.agents.declared.host import ALICE, OPERATOR, Host, toml


async def test_a_change_by_git_stays_and_the_status_shows_it(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running():
        await host.settle()
        await host.edit('label = "by git"\n')
        host.declare(alice=toml("A"))
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "by git"\n'
        row = await host.row()
        assert row.declared == "git moved"
        assert row.conditions[0].startswith("the host's configuration declares something else than git has by now")


async def conflicting(host: Host) -> ProposalId:
    """Bring about a conflict, and return the proposal that waits for a person."""
    host.declare(alice=toml("A"))
    await host.settle()
    await host.edit('label = "by git"\n')
    host.declare(alice=toml("C"))
    await host.settle()
    (waiting,) = [id for id, state in (await host.tags()).items() if state is TagState.PROPOSAL]
    return ProposalId(waiting)


async def test_where_both_moved_the_card_shows_the_conflict_and_nothing_is_overwritten(host: Host) -> None:
    async with host.running() as daemon:
        waiting = await conflicting(host)
        assert (await host.files())["agent.toml"] == b'label = "by git"\n'
        card = await daemon.service.cards.get(waiting)
        assert card.description is not None
        assert "conflict: git changed agent.toml since both last agreed" in card.description
        row = await host.row()
        assert row.declared == "conflict"
        assert f"`hive diff {waiting}`" in row.conditions[0]


async def test_approving_a_conflict_takes_the_declared_files(host: Host) -> None:
    async with host.running() as daemon:
        await daemon.service.proposals.approve(await conflicting(host), OPERATOR)
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "C"\n'
        assert await host.standing() == "agrees"


async def test_denying_a_conflict_keeps_gits_files_and_asks_only_about_another_declaration(host: Host) -> None:
    async with host.running() as daemon:
        waiting = await conflicting(host)
        await daemon.service.proposals.deny(waiting, OPERATOR)
        await host.settle()
        assert await host.standing() == "denied"
        before = await host.tags()
    async with host.running():
        await host.settle()
        assert await host.tags() == before
        host.declare(alice=toml("D"))
        await host.settle()
        assert await host.standing() == "conflict"


async def test_a_conflict_that_git_leaves_behind_is_proposed_again_on_what_is_deployed(host: Host) -> None:
    async with host.running() as daemon:
        waiting = await conflicting(host)
        await host.edit('label = "by git again"\n')
        assert (await host.tags())[waiting] is TagState.DENIED
        (again,) = [id for id, state in (await host.tags()).items() if state is TagState.PROPOSAL]
        await daemon.service.proposals.approve(ProposalId(again), OPERATOR)
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "C"\n'


async def test_a_conflict_is_withdrawn_when_the_declaration_is_taken_back(host: Host) -> None:
    async with host.running():
        waiting = await conflicting(host)
        host.declare(alice=toml("A"))
        await host.settle()
        assert (await host.tags())[waiting] is TagState.DENIED
        assert await host.standing() == "git moved"
        host.declare(alice=toml("C"))  # a new switch to it asks again
        await host.settle()
        assert await host.standing() == "conflict"


async def test_an_agent_that_git_has_already_is_a_conflict_unless_it_is_the_same(host: Host) -> None:
    host.declare()
    async with host.running() as daemon:
        await daemon.service.spawns.begin(ALICE, OPERATOR)
        assert await daemon.service.loop.settled(ALICE, 30)
        same = (await host.files())["agent.toml"].decode()
        host.declare(alice=toml("A"))
        await host.settle()
        assert await host.standing() == "conflict"
        host.declare(alice={"settings": same})
        await host.settle()
        assert await host.standing() == "agrees"
        host.declare(alice=toml("B"))  # from then on they agree, so a change is no conflict
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "B"\n'


async def test_a_rollback_is_not_undone_by_the_same_declaration(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare(alice=toml("B"))
        await host.settle()
        await daemon.service.rollback(ALICE, OPERATOR)
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "A"\n'
        assert await host.standing() == "git moved"


async def test_a_lost_database_undoes_no_rollback_without_asking(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        await host.edit('label = "X"\n')
        host.declare(alice=toml("X"))  # the host takes over what git has: no tag says so
        await host.settle()
        assert await host.standing() == "agrees"
        await daemon.service.rollback(ALICE, OPERATOR)
        await host.settle()
        assert await host.standing() == "git moved"
    host.lose_the_database()
    async with host.running() as daemon:
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "A"\n'
        row = await host.row()
        assert row.declared == "conflict"
        assert "went back to these files" in str((await daemon.service.cards.get(row.pending[0])).description)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_declared_change_that_was_cancelled_is_not_tried_again(host: Host, lost: bool) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare(alice=toml("B"))
        await daemon.service.declared.look()
        (id,) = [id for id in await host.tags() if id > 0]
        await daemon.service.proposals.cancel(ProposalId(id), OPERATOR)
        await host.settle()
        before = await host.tags()
    if lost:
        host.lose_the_database()
    async with host.running():
        for _ in range(2):
            await host.settle()
            assert await host.tags() == before
            assert await host.standing() == "failed"
            assert (await host.files())["agent.toml"] == b'label = "A"\n'
        host.declare(alice=toml("C"))
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "C"\n'


async def test_a_conflict_that_was_denied_is_not_asked_again_without_the_database(host: Host) -> None:
    async with host.running() as daemon:
        await daemon.service.proposals.deny(await conflicting(host), OPERATOR)
        await host.settle()
        before = await host.tags()
    host.lose_the_database()
    async with host.running():
        await host.settle()
        assert await host.tags() == before
        assert await host.standing() == "denied"
