"""What the host's configuration declares is followed: spawned, changed, stopped, kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.desired.flake import port
from meta.errors import Refused
from meta.model import TagState
from meta.names import AgentName
from tests.reconciler.agents.declared.host import ALICE, BY, OPERATOR, Host, toml


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
