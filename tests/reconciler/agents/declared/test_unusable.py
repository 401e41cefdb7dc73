"""A declaration that cannot be used: named, and nobody else waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from meta.errors import Refused
from meta.names import AgentName
from reconciler.agents.declared.look import Look, Looks
from tests.reconciler.agents.declared.host import ALICE, OPERATOR, Host, toml


async def test_what_is_declared_badly_is_named_and_holds_nothing_else_up(host: Host) -> None:
    host.declare(alice=toml("A"), bob={"settings": "lable = 1\n"})
    async with host.running() as daemon:
        await host.settle()
        assert await host.standing() == "agrees"
        (note,) = [note for note in (await daemon.service.status()).notes if "declares" in note]
        assert note.startswith("the host's configuration, agent bob: declares what cannot be used")
        assert "did you mean 'label'" in note
        host.declare(alice={"settings": "lable = 1\n"})
        await host.settle()
        row = await host.row()
        assert (row.declared, row.desired) == ("broken", "running")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"version": 9, "agents": {}}', "update hive and its NixOS module together"),
        (None, "does not exist"),
    ],
)
async def test_a_file_that_hive_does_not_understand_changes_no_agent(
    host: Host, content: str | None, words: str
) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        if content is None:
            host.file.unlink()
        else:
            host.file.write_text(content, encoding="utf-8")
        await host.settle()
        assert (await host.row()).desired == "running"
        assert any(words in note for note in (await daemon.service.status()).notes)
        with pytest.raises(Refused):
            await daemon.service.agents.destroy(ALICE, OPERATOR)


async def test_every_agent_that_is_declared_badly_is_named_in_full(host: Host) -> None:
    wrong: dict[str, str | None] = {"settings": "x" * 200 + " = 1\n"}
    host.declare(bob=wrong, carol=wrong, dave=wrong, elevenandone={})
    async with host.running() as daemon:
        await host.settle()
        notes = [note for note in (await daemon.service.status()).notes if "cannot be used" in note]
        assert [note.partition(":")[0].rpartition(" ")[2] for note in notes] == ["bob", "carol", "dave", "elevenandone"]
        assert not [note for note in (await daemon.service.status()).notes if "background task declared" in note]
        host.declare()
        await host.settle()
        assert not [note for note in (await daemon.service.status()).notes if "cannot be used" in note]


async def test_a_file_that_is_wrong_is_counted_once_for_each_change(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        for content, often in (("{", "failed ("), ("{{", "failed 2 times in a row (")):
            host.file.write_text(content, encoding="utf-8")
            for _ in range(5):
                await daemon.service.declared.look()
            (note,) = [note for note in (await daemon.service.status()).notes if "background task declared" in note]
            assert often in note


async def test_an_agent_that_cannot_be_followed_now_holds_up_no_other(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.declare(alice=toml("A"), bob=toml("B"))
    async with host.running() as daemon:
        with monkeypatch.context() as patch:
            real = Looks.at

            async def fails(self: Looks, agent: AgentName, *given: Any) -> Look:
                if agent == ALICE:
                    raise Refused("alice's repo is damaged", "see `hive doctor`")
                return await real(self, agent, *given)

            patch.setattr(Looks, "at", fails)
            await host.settle()
            status = await daemon.service.status()
            assert {row.agent: row.declared for row in status.agents} == {"bob": "agrees"}
            (note,) = [note for note in status.notes if "agent alice" in note]
            assert "is not followed for now: alice's repo is damaged (see `hive doctor`)" in note
        await host.settle()
        assert await host.standing() == "agrees"
        assert (await host.row()).conditions == ()


async def test_a_file_that_others_can_write_approves_nothing(host: Host) -> None:
    host.declare(alice=toml("A"))
    host.file.chmod(0o666)
    async with host.running() as daemon:
        await host.settle()
        assert ALICE not in (await daemon.world.observer.desired()).agents
        assert any("others than root could have written it" in note for note in (await daemon.service.status()).notes)
