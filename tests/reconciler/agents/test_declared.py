"""Agents that the host's configuration declares, with a whole daemon on backend `fake`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.daemon.agent_sockets import AgentSockets
from meta.config import Config
from meta.desired.flake import port
from meta.errors import Refused
from meta.layout import Layout
from meta.model import RunState, TagState
from meta.names import AgentName, ProposalId
from reconciler.agents.declared.acts import Acts
from reconciler.agents.declared.look import Look, Looks
from reconciler.agents.declared.records import Records
from reconciler.daemon.choices import choose
from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")
BY = "nixos-rebuild (generation 42, revision 1a2b3c4d5e6f)"
OPERATOR = "operator"


class Host:
    """A host whose configuration declares agents, and its daemon."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "s", directory / "r")
        self.file = directory / "agents.json"
        self.profile = directory / "system"
        self.profile.symlink_to("system-42-link")
        self.daemon: Daemon | None = None

    def declare(self, **agents: dict[str, str | None]) -> None:
        """Write the file as a switch to another generation does."""
        content = {
            "version": 1,
            "revision": "1a2b3c4d5e6f708",
            "profile": str(self.profile),
            "agents": agents,
        }
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.chmod(0o644)
        new.rename(self.file)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        """Run a daemon in the block. It looks at the declaration only when a test asks."""
        config = Config.model_validate({"health_stable": 0.0, "declared": str(self.file)})
        serving = asyncio.get_running_loop().create_future()
        sockets = AgentSockets(self.layout, config, serving)
        made = await Daemon.open(self.layout, config, sockets, choose("fake", "plain"))
        serving.set_result(made.service)
        self.daemon = made
        try:
            await made.service.loop.sweep()
            yield made
        finally:  # or a test that fails ends with tasks whose threads are gone
            await made.close()
            await sockets.close_all()

    async def settle(self) -> None:
        """Follow the declaration until neither it nor the loop has anything to do."""
        assert self.daemon is not None
        for _ in range(3):
            await self.daemon.service.declared.look()
            assert await self.daemon.service.loop.settled(None, 10)

    def lose_the_database(self) -> None:
        """Lose what no tag has, between two daemons."""
        for path in self.layout.database.parent.glob(f"{self.layout.database.name}*"):
            path.unlink()

    # what is seen
    async def row(self) -> Any:
        assert self.daemon is not None
        status = await self.daemon.service.status()
        return next((row for row in status.agents if row.agent == ALICE), None)

    async def standing(self) -> str:
        return str((await self.row()).declared)

    async def files(self) -> dict[str, bytes]:
        """The files of the commit that meta pins."""
        assert self.daemon is not None
        desired = await self.daemon.world.observer.desired()
        files = await self.daemon.world.applied(ALICE).files(desired.agents[ALICE].pin.sha)
        return {path: file.data for path, file in files.items()}

    async def tags(self) -> dict[int, TagState]:
        assert self.daemon is not None
        return {deploy.id: deploy.state for deploy in await self.daemon.world.observer.refresh(ALICE, again=True)}

    async def edit(self, text: str) -> ProposalId:
        """Change agent.toml by git, as a person does, and deploy that."""
        assert self.daemon is not None
        service = self.daemon.service
        deploy = await service.settings.propose(ALICE, OPERATOR, text)
        await service.proposals.approve(deploy.id, OPERATOR)
        await self.settle()
        assert (await self.tags())[deploy.id] is TagState.DEPLOYED
        return deploy.id


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def toml(label: str) -> dict[str, str | None]:
    return {"settings": f'label = "{label}"\n'}


async def test_a_declared_agent_is_spawned_with_its_files_by_the_hosts_generation(host: Host, tmp_path: Path) -> None:
    module = tmp_path / "alice.nix"
    module.write_text("{ }\n", encoding="utf-8")
    host.declare(alice={"settings": 'label = "A"\n', "module": str(module)})
    async with host.running() as daemon:
        await host.settle()
        files = await host.files()
        assert files["agent.toml"] == b'label = "A"\n'
        assert files["declared.nix"] == b"{ }\n"
        assert b"imports = [ ./declared.nix ];" in files["agent.nix"]
        assert "flake.nix" in files
        (deploy,) = await daemon.world.observer.refresh(ALICE)
        assert (deploy.proposed_by, deploy.approved_by, deploy.source) == (BY, BY, "declared#host")
        row = await host.row()
        assert (row.phase, row.declared, row.conditions) == ("running", "agrees", ())


async def test_the_same_declaration_again_changes_nothing_in_this_daemon_and_the_next(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running():
        await host.settle()
        before = await host.tags()
        host.declare(alice=toml("A"))
        await host.settle()
        assert await host.tags() == before
    async with host.running() as daemon:
        await host.settle()
        assert await host.tags() == before
        events = await daemon.service.events.since(None)
        assert [event.data["by"] for event in events if event.kind == "agents_declared"] == [BY]


async def test_a_changed_declaration_is_deployed_and_keeps_what_is_gits(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare(alice=toml("B"))
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "B"\n'
        assert (await host.files())["agent.nix"].startswith(b"# The container of alice")
        newest = max(await daemon.world.observer.refresh(ALICE), key=lambda deploy: deploy.id)
        assert (newest.by, newest.approved_by, newest.state) == ("hive", BY, TagState.DEPLOYED)
        assert newest.description == f"declared by {BY}"
        assert await host.standing() == "agrees"


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


async def test_an_agent_declared_no_more_is_stopped_once_and_left_to_a_person(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        with pytest.raises(Refused, match="declares alice and would bring it back"):
            await daemon.service.agents.destroy(ALICE, OPERATOR)
        host.declare()
        await host.settle()
        row = await host.row()
        assert (row.desired, row.declared) == ("stopped", "removed")
        assert "hive destroy alice" in row.conditions[0]
        await daemon.service.agents.start(ALICE, OPERATOR)
        await host.settle()
        row = await host.row()
        assert (row.desired, row.declared, row.conditions) == ("running", "", ())


async def test_an_agent_that_is_declared_again_is_started_or_spawned_on_its_kept_repo(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare()
        await host.settle()
        host.declare(alice=toml("A"))
        await host.settle()
        row = await host.row()
        assert (row.desired, row.declared) == ("running", "agrees")
        host.declare()
        await host.settle()
        await daemon.service.agents.destroy(ALICE, OPERATOR)
        await host.settle()
        host.declare(alice=toml("B"))
        await host.settle()
        assert (await host.files())["agent.toml"] == b'label = "B"\n'
        assert await host.standing() == "agrees"


@pytest.mark.parametrize("spawned_again", [False, True])
async def test_an_agent_that_was_purged_since_is_new_to_the_declaration(host: Host, spawned_again: bool) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare()
        await host.settle()
        await daemon.service.agents.destroy(ALICE, OPERATOR, purge=True)
        assert await daemon.service.loop.settled(None, 10)
        if spawned_again:
            await daemon.service.spawns.begin(ALICE, OPERATOR)
            assert await daemon.service.loop.settled(None, 10)
        host.declare(alice=toml("B"))
        await host.settle()
        assert not [note for note in (await daemon.service.status()).notes if "declared" in note]
        assert await host.standing() == ("conflict" if spawned_again else "agrees")


async def test_the_manager_may_be_declared_before_it_is_there(host: Host) -> None:
    host.declare(manager=toml("the boss"))
    async with host.running() as daemon:
        await host.settle()
        desired = await daemon.world.observer.desired()
        pin = desired.agents[AgentName("manager")]
        assert str(pin.settings.role) == "manager"
        files = await daemon.world.applied(AgentName("manager")).files(pin.pin.sha)
        assert files["agent.toml"].data == b'label = "the boss"\n'


async def test_the_manager_goes_on_when_nothing_declares_it_any_more(host: Host) -> None:
    host.declare(manager=toml("the boss"))
    async with host.running() as daemon:
        await host.settle()
        host.declare()
        await host.settle()
        (row,) = (await daemon.service.status()).agents
        assert (row.agent, row.desired, row.declared, row.conditions) == ("manager", "running", "", ())


async def test_an_agent_that_git_had_before_goes_on_when_nothing_declares_it_any_more(host: Host) -> None:
    host.declare()
    async with host.running() as daemon:
        await daemon.service.spawns.begin(ALICE, OPERATOR)
        assert await daemon.service.loop.settled(ALICE, 30)
        host.declare(alice=toml("A"))
        await host.settle()
        assert await host.standing() == "conflict"
        host.declare()
        await host.settle()
        row = await host.row()
        assert (row.desired, row.declared, row.pending, row.conditions) == ("running", "", (), ())


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


async def test_an_act_names_the_generation_of_its_moment(host: Host) -> None:
    host.declare(alice=toml("A"))
    async with host.running() as daemon:
        await host.settle()
        host.declare(alice=toml("B"))
        await daemon.service.declared.look()
        await daemon.service.declared.look()
        await host.settle()
        host.profile.unlink()
        host.profile.symlink_to("system-43-link")  # a switch that leaves the file as it is
        await daemon.service.rollback(ALICE, OPERATOR)
        await host.settle()
        host.file.write_text(host.file.read_text(encoding="utf-8").replace('"B', '"C'), encoding="utf-8")
        await host.settle()
        assert await host.standing() == "conflict"
        newest = max(await daemon.world.observer.refresh(ALICE), key=lambda deploy: deploy.id)
        assert newest.proposed_by == BY.replace("42", "43")


async def test_a_module_outside_the_store_is_followed_when_it_changes(host: Host, tmp_path: Path) -> None:
    module = tmp_path / "alice.nix"
    module.write_text("{ }\n", encoding="utf-8")
    module.chmod(0o644)
    host.declare(alice={"module": str(module)})
    async with host.running():
        await host.settle()
        module.write_text("{ a = 1; }\n", encoding="utf-8")
        await host.settle()
        assert (await host.files())["declared.nix"] == b"{ a = 1; }\n"
        module.chmod(0o666)
        await host.settle()
        assert await host.standing() == "broken"
        assert "has the mode 0666" in (await host.row()).conditions[0]
        module.chmod(0o644)
        await host.settle()
        assert await host.standing() == "agrees"


async def test_two_declared_agents_may_open_the_same_port(host: Host, tmp_path: Path) -> None:
    """Each container has a network of its own, see the root helper's test of `PRIVATE_NETWORK=1`."""
    module = tmp_path / "web.nix"
    module.write_text("{ networking.firewall.allowedTCPPorts = [ 8080 ]; }\n", encoding="utf-8")
    host.declare(alice={"module": str(module)}, bob={"module": str(module)})
    async with host.running() as daemon:
        await host.settle()
        agents = (await daemon.world.observer.desired()).agents
        assert {row.agent: row.declared for row in (await daemon.service.status()).agents} == {
            "alice": "agrees",
            "bob": "agrees",
        }
        assert len({port(entry) for entry in agents.values()}) == len(agents)


async def test_a_file_that_others_can_write_approves_nothing(host: Host) -> None:
    host.declare(alice=toml("A"))
    host.file.chmod(0o666)
    async with host.running() as daemon:
        await host.settle()
        assert ALICE not in (await daemon.world.observer.desired()).agents
        assert any("others than root could have written it" in note for note in (await daemon.service.status()).notes)


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
