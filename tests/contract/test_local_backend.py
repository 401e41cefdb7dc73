"""What only backend `local` promises: ends of every kind, adoption, the log's size, limits."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import Refused, TransientError
from meta.model import Limits
from meta.process.identity import identity
from reconciler.backends.local.backend import LocalBackend
from reconciler.backends.local.cgroups import Cgroups, detect, processes
from reconciler.backends.local.launch import Busy, running_supervisors, start_supervisor
from reconciler.backends.local.records import LocalRecords
from reconciler.plan.observed import Container
from tests.contract.localhost import ALICE, BOB, LINGER, Host
from tests.support.threads import sleeping_thread


# ends
async def test_an_agent_that_ignores_term_is_killed_after_the_grace(local_host: Host) -> None:
    local_host.script = "trap '' TERM; sleep 1000 & echo up; while :; do wait; done"
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    inside = local_host.inside(ALICE)
    await local_host.backend.stop(ALICE, 0.05)
    ended = local_host.backend.observe(ALICE).exit
    assert ended is not None
    assert ended.signal == signal.SIGKILL
    assert not any(local_host.alive(pid) for pid in inside)


async def test_what_the_agent_left_in_the_background_is_gone_after_its_end(local_host: Host) -> None:
    local_host.script = "sleep 1000 & setsid sleep 1000 & echo up; trap 'exit 3' TERM; wait"
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    init = local_host.inside(ALICE)[0]
    children = {int(pid) for pid in Path(f"/proc/{init}/task/{init}/children").read_text().split()}
    assert children
    await local_host.backend.stop(ALICE, 5)
    assert not any(local_host.alive(pid) for pid in children)


async def test_a_kill_of_the_process_inside_ends_the_container_as_that_signal(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    os.kill(local_host.inside(ALICE)[0], signal.SIGKILL)
    ended = (await local_host.until_down(ALICE)).exit
    assert ended is not None
    assert (ended.code, ended.signal) == (None, 9)


async def test_kill_of_the_supervisor_ends_everything_inside_before_the_next_start(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    record = local_host.record(ALICE)
    former = [record["child"]["pid"], *local_host.inside(ALICE)]
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    ended = (await local_host.until_down(ALICE)).exit
    assert ended is not None
    assert ended.lost
    await local_host.bring_up(ALICE)
    assert not any(local_host.alive(pid) for pid in former)


async def test_a_run_of_an_earlier_boot_is_a_lost_exit_even_if_its_pid_is_taken(local_host: Host) -> None:
    launch = await local_host.bring_up(ALICE)
    await local_host.backend.stop(ALICE, 5)
    path = local_host.folder(ALICE) / "run.json"
    record = json.loads(path.read_text())
    me = identity(os.getpid())
    record["boot"] = "another boot"
    record["supervisor"] = record["child"] = {"pid": me.pid, "start": me.start_time}
    path.write_text(json.dumps(record))
    (local_host.folder(ALICE) / "exit.json").unlink()
    await local_host.reopen()
    seen = local_host.backend.observe(ALICE)
    assert seen.exit is not None
    assert (seen.running, seen.exit.nonce, seen.exit.lost) == (False, launch.nonce, True)
    await local_host.bring_up(ALICE)
    assert local_host.backend.observe(ALICE).running


async def test_a_later_process_with_the_supervisors_pid_is_not_adopted(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    await local_host.backend.stop(ALICE, 5)
    path = local_host.folder(ALICE) / "run.json"
    record = json.loads(path.read_text())
    record["supervisor"] = {"pid": os.getpid(), "start": 1}
    path.write_text(json.dumps(record))
    await local_host.reopen()
    assert not local_host.backend.observe(ALICE).running


@pytest.mark.parametrize("which", ["supervisor", "child"])
async def test_a_recorded_pid_that_is_a_thread_by_now_is_an_end_and_the_agent_starts_again(
    local_host: Host, which: str
) -> None:
    await local_host.bring_up(ALICE)
    await local_host.backend.stop(ALICE, 5)
    path = local_host.folder(ALICE) / "run.json"
    record = json.loads(path.read_text())
    with sleeping_thread() as thread:
        record[which]["pid"] = thread
        path.write_text(json.dumps(record))
        await local_host.reopen()
        assert not local_host.backend.observe(ALICE).running
        await local_host.bring_up(ALICE)
    assert local_host.backend.observe(ALICE).running


async def test_what_is_wrong_with_one_agents_run_keeps_no_other_from_being_adopted(
    local_host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await local_host.bring_up(ALICE)
    await local_host.bring_up(BOB)
    broken, real = local_host.record(ALICE)["supervisor"]["pid"], os.pidfd_open

    def refuse(pid: int, flags: int = 0) -> int:
        if pid == broken:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", refuse)
    await local_host.reopen()
    assert local_host.backend.observe(BOB).running
    assert "alice: cannot watch the recorded run" in caplog.text
    monkeypatch.undo()
    await local_host.reopen()
    assert local_host.backend.observe(ALICE).running


async def test_a_container_deleted_by_hand_while_no_daemon_ran_is_ended_by_the_next_one(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    former = [local_host.record(ALICE)["child"]["pid"], *local_host.inside(ALICE)]
    await local_host.backend.close()
    local_host.vanish(ALICE)
    await local_host.open()
    assert local_host.backend.observe(ALICE) == Container()
    await local_host.bring_up(ALICE)
    assert local_host.backend.observe(ALICE).running
    assert not any(local_host.alive(pid) for pid in former)


async def test_a_run_whose_record_was_deleted_is_ended_before_the_next_start(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    child = local_host.record(ALICE)["child"]["pid"]
    await local_host.backend.close()
    (local_host.folder(ALICE) / "run.json").unlink()
    await local_host.open()
    assert not local_host.backend.observe(ALICE).running
    await local_host.bring_up(ALICE)
    assert not local_host.alive(child)


async def test_what_another_backend_object_started_is_adopted_and_never_run_twice(local_host: Host) -> None:
    rival = local_host.make()
    await rival.open(lambda agent: None)
    await local_host.bring_up(ALICE)
    before = local_host.backend.observe(ALICE)
    await rival.start(ALICE, local_host.launch(local_host.generation(ALICE)))
    assert rival.observe(ALICE) == local_host.backend.observe(ALICE) == before
    await rival.close()


async def test_racing_starts_run_one_supervisor(local_host: Host) -> None:
    rival = local_host.make()
    await rival.open(lambda agent: None)
    await local_host.bring_up(ALICE)
    await local_host.backend.stop(ALICE, 5)
    generation = local_host.generation(ALICE)
    starts = [backend.start(ALICE, local_host.launch(generation)) for backend in (local_host.backend, rival)]
    for result in await asyncio.gather(*starts, return_exceptions=True):
        assert result is None or isinstance(result, TransientError), result
    assert len(list(running_supervisors(local_host.layout.backend("local")))) == 1
    await local_host.reopen()
    assert local_host.backend.observe(ALICE).running
    await rival.close()


async def test_a_start_that_is_refused_leaves_no_supervisor_of_its_own(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    await local_host.until_up(ALICE)
    folder = local_host.folder(ALICE)
    with pytest.raises(Busy):
        await start_supervisor(LocalRecords(ALICE, folder, local_host.owner))
    running = [which.pid for _, which in running_supervisors(folder.parent)]
    assert running == [local_host.record(ALICE)["supervisor"]["pid"]]


async def test_a_program_that_cannot_be_executed_is_an_exit_with_the_reason_in_the_log(local_host: Host) -> None:
    local_host.script = "exec /nonexistent/program"
    await local_host.bring_up(ALICE)
    ended = (await local_host.until_down(ALICE)).exit
    assert ended is not None
    assert ended.code == 127
    assert "/nonexistent/program" in await local_host.backend.logs(ALICE, 5)


# what is set
async def test_a_generation_deleted_by_hand_is_observed_as_no_system(local_host: Host) -> None:
    await local_host.bring_up(ALICE)
    (local_host.generation(ALICE).system / "generation.json").unlink()
    assert local_host.backend.observe(ALICE).system is None


async def test_a_symlink_in_the_place_of_the_agents_state_is_refused(local_host: Host, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o711)
    local_host.layout.agent(ALICE).mkdir(parents=True)
    local_host.layout.agent_state(ALICE).symlink_to(target)
    with pytest.raises(Refused, match="state"):
        await local_host.backend.create(ALICE, local_host.settings(ALICE))
    assert (target.stat().st_uid, target.stat().st_mode & 0o777) == (os.geteuid(), 0o711)


async def test_the_log_is_capped_and_rotated_once(local_host: Host) -> None:
    local_host.log_limit = 20_000
    await local_host.reopen()
    script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"
    local_host.script = f"{script}; echo end; {LINGER}"
    await local_host.bring_up(ALICE)
    await local_host.until_logged(ALICE, "end\n")
    folder = local_host.folder(ALICE)
    sizes = [path.stat().st_size for path in folder.glob("log*")]
    assert len(sizes) == 4, "log, log.1 and the times of both"
    assert max(sizes) <= 20_000 + 65_536
    assert (await local_host.backend.logs(ALICE, 3)).splitlines() == ["line 4998", "line 4999", "end"]


# limits
async def limited(host: Host, limits: Limits, script: str) -> None:
    """Run `script` under these limits."""
    settings = replace(host.settings(ALICE), limits=limits)
    generation = replace(host.generation(ALICE), fingerprint=settings.fingerprint())
    host.script = script
    await host.backend.create(ALICE, settings)
    await host.backend.set_system(ALICE, generation)
    await host.backend.start(ALICE, host.launch(generation))


def require_controller(name: str) -> None:
    """Skip where limits cannot be tried."""
    found = detect("probe")
    if not any(name in each.controllers for each in found.hierarchies):
        pytest.skip(f"the cgroup controller {name} is {found.summary}")


async def test_an_agent_that_takes_more_memory_than_it_may_is_killed(local_host: Host) -> None:
    require_controller("memory")
    eat = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ate ${#x}"
    await limited(local_host, Limits(memory_mib=48), f'exec /bin/sh -c "{eat.replace("$", chr(92) + "$")}"')
    ended = (await local_host.until_down(ALICE)).exit
    assert ended is not None
    assert ended.signal == signal.SIGKILL
    assert "ate" not in await local_host.backend.logs(ALICE, 5)


async def test_an_agent_that_forks_more_than_it_may_cannot(local_host: Host) -> None:
    require_controller("pids")
    script = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; echo forked all"
    await limited(local_host, Limits(pids=20), script)
    await local_host.until_down(ALICE)
    text = await local_host.backend.logs(ALICE, 5)
    assert "fork" in text
    assert "forked all" not in text


async def test_the_control_groups_are_gone_after_destroy(local_host: Host) -> None:
    require_controller("pids")
    groups = detect(local_host.owner)
    await local_host.bring_up(ALICE)
    directories = groups.directories(ALICE)
    assert processes(directories)
    await local_host.backend.destroy(ALICE)
    assert not any(directory.exists() for directory in directories)


async def test_groups_of_an_earlier_daemon_in_another_group_are_removed_too(local_host: Host) -> None:
    require_controller("pids")
    await local_host.bring_up(ALICE)
    directories = detect(local_host.owner).directories(ALICE)
    await local_host.backend.close()
    elsewhere = LocalBackend(local_host.layout, local_host.config, owner=local_host.owner, limits=Cgroups((), "none"))
    await elsewhere.open(lambda agent: None)
    await elsewhere.stop(ALICE, 5)
    assert not any(directory.exists() for directory in directories)
    await elsewhere.close()
    await local_host.open()
