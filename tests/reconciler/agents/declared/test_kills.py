"""Nothing about declared agents is lost between two acts, two daemons or two looks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meta.model import RunState, TagState
from meta.names import ProposalId
from reconciler.agents.declared.acts import Acts
from reconciler.agents.declared.look import Look, Looks
from reconciler.agents.declared.records import Records
from tests.reconciler.agents.declared.host import ALICE, OPERATOR, Host, toml


@pytest.mark.parametrize(
    ("part", "act"), [(Records, "remember"), (Acts, "_approve"), (Acts, "_propose"), (Records, "_save")]
)
async def test_a_daemon_that_dies_after_any_act_goes_on_where_it_stopped(
    host: Host, part: type[Acts | Records], act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.declare(alice=toml("A"))
    async with host.running():
        await host.settle()
    host.declare(alice=toml("B"))
    with monkeypatch.context() as patch:
        real = getattr(part, act)

        async def dies(self: Acts | Records, *given: Any, **named: Any) -> None:
            if part is Acts:
                await real(self, *given, **named)
            raise asyncio.CancelledError

        patch.setattr(part, act, dies)
        async with host.running() as daemon:
            with pytest.raises(asyncio.CancelledError):
                await daemon.service.declared.look()
    async with host.running():
        await host.settle()
        states = list((await host.tags()).values())
        assert states.count(TagState.DEPLOYED) == 2
        assert states.count(TagState.PROPOSAL) == 0
        assert (await host.files())["agent.toml"] == b'label = "B"\n'
        assert await host.standing() == "agrees"


async def test_what_failed_is_not_tried_again_by_the_next_daemon(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare(alice={"module": "/nowhere"})
        await host.settle()
        assert await host.standing() == "broken"
        patched = daemon.service.proposals
        host.declare(alice=toml("B"))
        await daemon.service.declared.look()
        (id,) = [id for id, state in (await host.tags()).items() if state is TagState.APPROVED or id > 0]
        await patched.cancel(ProposalId(id), OPERATOR)
        await host.settle()
        assert await host.standing() == "failed"
        before = await host.tags()
    async with host.running() as daemon:
        await host.settle()
        assert await host.tags() == before
        desired = await daemon.world.observer.desired()
        assert desired.run_of(ALICE).state is RunState.RUNNING


async def test_what_changes_while_hive_looks_is_looked_at_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        real = Looks.at

        async def slow(self: Looks, *given: Any) -> Look:
            seen = await real(self, *given)
            monkeypatch.setattr(Looks, "at", real)
            await daemon.service.agents.stop(ALICE, OPERATOR)
            await daemon.service.settings.propose(ALICE, OPERATOR, 'label = "by git"\n')
            await daemon.service.proposals.approve(ProposalId(1), OPERATOR)
            assert await daemon.service.loop.settled(None, 10)
            return seen

        monkeypatch.setattr(Looks, "at", slow)
        host.declare(alice={"settings": 'label = "A"\n', "module": None})
        await daemon.service.declared.look()
        await daemon.service.declared.look()
        assert await host.standing() == "git moved"
