"""The contract of backends: every test runs unchanged on every backend (see conftest.HOSTS)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from meta.errors import Refused, TransientError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation
from meta.names import AgentName
from reconciler.backends.base import Backend
from reconciler.plan.observed import Container, Launch

MANY = 500
"""Lines; more than any backend wrote here."""
ALICE = AgentName("alice")
BOB = AgentName("bob")


class Host(Protocol):
    """What conftest gives."""

    backend: Backend
    layout: Layout
    make: Callable[[], Backend]

    async def reopen(self) -> None: ...
    def settings(self, agent: AgentName, memory_mib: int = 512) -> ContainerSettings: ...
    def generation(self, agent: AgentName, number: int = 1) -> Generation: ...
    def launch(self, generation: Generation) -> Launch: ...
    async def bring_up(self, agent: AgentName, number: int = 1) -> Launch: ...
    async def until_up(self, agent: AgentName) -> None: ...
    async def until_down(self, agent: AgentName) -> Container: ...
    def alive(self, pid: int) -> bool: ...
    def crash(self, agent: AgentName) -> None: ...
    def kill(self, agent: AgentName) -> None: ...
    def lose(self, agent: AgentName) -> None: ...
    def vanish(self, agent: AgentName) -> None: ...
    def edit_settings(self, agent: AgentName) -> None: ...
    def delete_settings(self, agent: AgentName) -> None: ...
    def delete_system(self, agent: AgentName) -> None: ...
    def make_foreign(self, agent: AgentName) -> None: ...


def pid_of(host: Host, agent: AgentName) -> int:
    """Its pid; it must run."""
    pid = host.backend.observe(agent).pid
    assert pid is not None
    return pid


async def test_a_container_that_was_never_made_is_observed_as_missing(backend_host: Host) -> None:
    assert backend_host.backend.observe(ALICE) == Container()
    assert backend_host.backend.names() == frozenset()


async def test_create_makes_a_container_that_is_not_running_and_has_no_system(backend_host: Host) -> None:
    settings = backend_host.settings(ALICE)
    await backend_host.backend.create(ALICE, settings)
    assert backend_host.backend.observe(ALICE) == Container(exists=True, fingerprint=settings.fingerprint())
    assert backend_host.backend.names() == {ALICE}


async def test_create_makes_the_agents_own_directories(backend_host: Host) -> None:
    await backend_host.backend.create(ALICE, backend_host.settings(ALICE))
    layout = backend_host.layout
    assert layout.agent_state(ALICE).is_dir()
    assert layout.agent_home(ALICE).is_dir()
    assert layout.sockets(ALICE).is_dir()
    assert layout.pods(ALICE).is_dir()


async def test_create_again_changes_nothing_even_while_it_runs(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    before = backend_host.backend.observe(ALICE)
    await backend_host.backend.create(ALICE, backend_host.settings(ALICE))
    assert backend_host.backend.observe(ALICE) == before


async def test_set_system_shows_the_generation_and_can_be_repeated(backend_host: Host) -> None:
    await backend_host.backend.create(ALICE, backend_host.settings(ALICE))
    for number in (1, 1, 2):
        generation = backend_host.generation(ALICE, number)
        await backend_host.backend.set_system(ALICE, generation)
        assert backend_host.backend.observe(ALICE).system == generation.id


async def test_write_settings_shows_their_fingerprint(backend_host: Host) -> None:
    await backend_host.backend.create(ALICE, backend_host.settings(ALICE))
    other = backend_host.settings(ALICE, memory_mib=256)
    await backend_host.backend.write_settings(ALICE, other)
    assert backend_host.backend.observe(ALICE).fingerprint == other.fingerprint()


async def test_start_records_the_launch_with_the_start(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    seen = backend_host.backend.observe(ALICE)
    assert seen.running
    assert seen.launch == launch
    assert backend_host.alive(pid_of(backend_host, ALICE))


async def test_start_of_what_runs_already_is_nothing(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    before = backend_host.backend.observe(ALICE)
    await backend_host.backend.start(ALICE, backend_host.launch(backend_host.generation(ALICE)))
    assert backend_host.backend.observe(ALICE) == before


async def test_start_without_a_system_is_refused_for_now(backend_host: Host) -> None:
    await backend_host.backend.create(ALICE, backend_host.settings(ALICE))
    with pytest.raises(TransientError, match="alice"):
        await backend_host.backend.start(ALICE, backend_host.launch(backend_host.generation(ALICE)))
    assert not backend_host.backend.observe(ALICE).running


async def test_start_of_a_missing_container_names_it(backend_host: Host) -> None:
    with pytest.raises(TransientError, match="alice"):
        await backend_host.backend.start(ALICE, backend_host.launch(backend_host.generation(ALICE)))


async def test_a_switch_while_it_runs_takes_effect_at_the_next_start(backend_host: Host) -> None:
    first = await backend_host.bring_up(ALICE, 1)
    second = backend_host.generation(ALICE, 2)
    await backend_host.backend.set_system(ALICE, second)
    seen = backend_host.backend.observe(ALICE)
    assert (seen.system, seen.launch) == (second.id, first)
    await backend_host.backend.stop(ALICE, 5)
    launch = backend_host.launch(second)
    await backend_host.backend.start(ALICE, launch)
    assert backend_host.backend.observe(ALICE).launch == launch


async def test_stop_returns_when_nothing_is_left_and_keeps_how_it_ended(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    await backend_host.until_up(ALICE)
    pid = pid_of(backend_host, ALICE)
    await backend_host.backend.stop(ALICE, 5)
    seen = backend_host.backend.observe(ALICE)
    assert not seen.running
    assert not backend_host.alive(pid)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.code, seen.exit.lost) == (launch.nonce, 0, False)


async def test_stop_of_what_does_not_run_or_exist_is_nothing(backend_host: Host) -> None:
    await backend_host.backend.stop(ALICE, 1)
    await backend_host.bring_up(BOB)
    await backend_host.backend.stop(BOB, 1)
    before = backend_host.backend.observe(BOB)
    await backend_host.backend.stop(BOB, 1)
    assert backend_host.backend.observe(BOB) == before


async def test_an_exit_by_itself_sends_a_hint_and_keeps_the_code(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    await backend_host.until_up(ALICE)
    backend_host.crash(ALICE)
    seen = await backend_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.code, seen.exit.signal) == (launch.nonce, 7, None)
    assert seen.launch == launch


async def test_a_kill_of_its_pid_ends_it_and_is_kept_as_a_signal(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    backend_host.kill(ALICE)
    seen = await backend_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.code, seen.exit.signal) == (launch.nonce, None, 9)


async def test_the_exit_of_the_former_launch_is_kept_until_the_next_one_ends(backend_host: Host) -> None:
    first = await backend_host.bring_up(ALICE)
    backend_host.kill(ALICE)
    await backend_host.until_down(ALICE)
    second = await backend_host.bring_up(ALICE)
    seen = backend_host.backend.observe(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.launch) == (first.nonce, second)


async def test_a_running_container_survives_the_daemon_with_the_same_pid(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    before = backend_host.backend.observe(ALICE)
    await backend_host.reopen()
    assert backend_host.backend.observe(ALICE) == before
    assert backend_host.alive(pid_of(backend_host, ALICE))


async def test_an_adopted_container_still_sends_hints_and_can_be_stopped(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    await backend_host.bring_up(BOB)
    await backend_host.until_up(BOB)
    await backend_host.reopen()
    backend_host.kill(ALICE)
    assert (await backend_host.until_down(ALICE)).exit is not None
    pid = pid_of(backend_host, BOB)
    await backend_host.backend.stop(BOB, 5)
    assert not backend_host.alive(pid)


async def test_an_exit_while_no_daemon_runs_is_found_by_the_next_one(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    backend_host.kill(ALICE)
    await backend_host.until_down(ALICE)
    await backend_host.reopen()
    seen = backend_host.backend.observe(ALICE)
    assert seen.exit is not None
    assert (seen.running, seen.exit.nonce, seen.exit.signal) == (False, launch.nonce, 9)


async def test_an_end_without_a_witness_is_a_lost_exit(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    backend_host.lose(ALICE)
    seen = await backend_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.lost) == (launch.nonce, True)


async def test_a_lost_exit_is_still_known_after_the_next_start_and_a_new_daemon(backend_host: Host) -> None:
    launch = await backend_host.bring_up(ALICE)
    backend_host.lose(ALICE)
    await backend_host.until_down(ALICE)
    await backend_host.bring_up(ALICE)
    await backend_host.reopen()
    seen = backend_host.backend.observe(ALICE)
    assert seen.running
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.lost) == (launch.nonce, True)


async def test_a_container_deleted_by_hand_is_observed_as_missing_and_can_be_made_again(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    pid = pid_of(backend_host, ALICE)
    backend_host.vanish(ALICE)
    assert backend_host.backend.observe(ALICE) == Container()
    launch = await backend_host.bring_up(ALICE)
    seen = backend_host.backend.observe(ALICE)
    assert seen.launch == launch
    assert seen.pid != pid
    assert not backend_host.alive(pid)


async def test_settings_edited_by_hand_have_no_fingerprint_until_they_are_written_again(backend_host: Host) -> None:
    settings = backend_host.settings(ALICE)
    await backend_host.backend.create(ALICE, settings)
    backend_host.edit_settings(ALICE)
    assert backend_host.backend.observe(ALICE).fingerprint is None
    await backend_host.backend.write_settings(ALICE, settings)
    assert backend_host.backend.observe(ALICE).fingerprint == settings.fingerprint()


async def test_settings_deleted_by_hand_have_no_fingerprint_and_create_mends_them(backend_host: Host) -> None:
    settings = backend_host.settings(ALICE)
    await backend_host.backend.create(ALICE, settings)
    backend_host.delete_settings(ALICE)
    assert backend_host.backend.observe(ALICE).fingerprint is None
    await backend_host.backend.create(ALICE, settings)
    assert backend_host.backend.observe(ALICE).fingerprint == settings.fingerprint()


async def test_a_system_pointer_removed_by_hand_is_observed_as_none(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    backend_host.delete_system(ALICE)
    seen = backend_host.backend.observe(ALICE)
    assert seen.system is None
    assert seen.running


async def test_a_container_without_hives_marker_is_never_touched(backend_host: Host) -> None:
    backend_host.make_foreign(ALICE)
    backend, settings = backend_host.backend, backend_host.settings(ALICE)
    generation = backend_host.generation(ALICE)
    folder = backend_host.layout.backend(backend.name)
    before = snapshot(folder)
    assert backend.observe(ALICE) == Container(exists=True, ours=False)
    assert ALICE not in backend.names()
    with pytest.raises(Refused, match="alice"):
        await backend.create(ALICE, settings)
    with pytest.raises(Refused):
        await backend.set_system(ALICE, generation)
    with pytest.raises(Refused):
        await backend.write_settings(ALICE, settings)
    with pytest.raises(Refused):
        await backend.start(ALICE, backend_host.launch(generation))
    with pytest.raises(Refused):
        await backend.stop(ALICE, 1)
    with pytest.raises(Refused):
        await backend.destroy(ALICE)
    assert snapshot(folder) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_destroy_removes_the_container_and_keeps_the_agents_directories(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    pid = pid_of(backend_host, ALICE)
    kept = backend_host.layout.agent_state(ALICE) / "diary"
    kept.write_text("dear diary")
    await backend_host.backend.destroy(ALICE)
    assert backend_host.backend.observe(ALICE) == Container()
    assert backend_host.backend.names() == frozenset()
    assert not backend_host.alive(pid)
    assert kept.read_text() == "dear diary"
    await backend_host.backend.destroy(ALICE)


async def test_a_destroyed_container_starts_without_a_past_when_it_is_made_again(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    await backend_host.backend.destroy(ALICE)
    await backend_host.backend.create(ALICE, backend_host.settings(ALICE))
    seen = backend_host.backend.observe(ALICE)
    assert (seen.launch, seen.exit, seen.system) == (None, None, None)


async def test_own_directories_come_back_after_they_were_deleted(backend_host: Host) -> None:
    settings = backend_host.settings(ALICE)
    await backend_host.backend.create(ALICE, settings)
    backend_host.layout.agent_home(ALICE).rmdir()
    await backend_host.backend.own_directories(ALICE, settings)
    assert backend_host.layout.agent_home(ALICE).is_dir()


async def test_logs_are_the_last_lines_and_empty_for_a_container_that_never_ran(backend_host: Host) -> None:
    await backend_host.backend.create(BOB, backend_host.settings(BOB))
    assert await backend_host.backend.logs(BOB, 10) == ""
    launch = await backend_host.bring_up(ALICE)
    await backend_host.until_up(ALICE)
    assert launch.nonce in await backend_host.backend.logs(ALICE, 10)
    assert len((await backend_host.backend.logs(ALICE, 1)).splitlines()) == 1


async def test_a_log_goes_on_where_its_cursor_says(backend_host: Host) -> None:
    await backend_host.backend.create(BOB, backend_host.settings(BOB))
    assert (await backend_host.backend.logs_after(BOB, None, 10, None)).text == ""
    launch = await backend_host.bring_up(ALICE)
    await backend_host.until_up(ALICE)
    part = await backend_host.backend.logs_after(ALICE, None, MANY, None)
    assert launch.nonce in part.text
    assert part.text.endswith("\n")
    assert launch.nonce not in (await backend_host.backend.logs_after(ALICE, part.cursor, MANY, None)).text


async def test_a_log_can_be_asked_for_what_was_written_after_a_time(backend_host: Host) -> None:
    logs_after = backend_host.backend.logs_after
    launch = await backend_host.bring_up(ALICE)
    await backend_host.until_up(ALICE)
    now = time.time()
    assert launch.nonce in (await logs_after(ALICE, None, MANY, now - 3600)).text
    part = await logs_after(ALICE, None, MANY, now + 3600)
    assert part.text == ""
    assert launch.nonce not in (await logs_after(ALICE, part.cursor, MANY, now + 3600)).text
    await backend_host.backend.create(BOB, backend_host.settings(BOB))
    assert (await logs_after(BOB, None, 10, now - 3600)).text == ""


async def test_abilities_are_said_in_words(backend_host: Host) -> None:
    abilities = backend_host.backend.abilities()
    assert abilities.isolation
    assert abilities.limits
    assert abilities.uids


async def test_containers_do_not_know_of_each_other(backend_host: Host) -> None:
    await backend_host.bring_up(ALICE)
    await backend_host.bring_up(BOB)
    await backend_host.backend.stop(ALICE, 5)
    assert backend_host.backend.observe(BOB).running
    assert backend_host.backend.names() == {ALICE, BOB}
