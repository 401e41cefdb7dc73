"""What people and accidents do to containers of backend `nixos`: real units, real kills, a real bus that goes away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typing_extensions import override

from meta.model import ContainerSettings, Generation, Limits, Role
from meta.names import MANAGER, AgentName
from reconciler.backends.nixos.backend import NixosBackend
from reconciler.backends.nixos.bus import Bus
from reconciler.common.tasks import Background
from reconciler.plan.observed import Launch
from reconciler.privileged.client import Client
from tests.contract.conftest import WAIT
from tests.support.systemd.stand_in import make_system
from tests.systemd.inside.conftest import UID_BASES, WHERE, NixosHost, systemctl

ALICE = AgentName("alice")
BOB = AgentName("bob")
TINY = Path(__file__).resolve().parents[2] / "support" / "tiny_harness.py"


async def test_a_killed_leader_is_an_exit_and_the_next_start_works(nixos_host: NixosHost) -> None:
    first = await nixos_host.bring_up(ALICE)
    os.kill(nixos_host.leader(ALICE), signal.SIGKILL)
    seen = await nixos_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.lost, seen.exit.code) == (first.nonce, False, 1)
    second = await nixos_host.bring_up(ALICE)
    await nixos_host.until_up(ALICE)
    assert nixos_host.backend.observe(ALICE).launch == second


async def test_a_killed_nspawn_leaves_nothing_that_keeps_the_next_start_from_working(nixos_host: NixosHost) -> None:
    for _ in range(4):
        launch = await nixos_host.bring_up(ALICE)
        leader = nixos_host.leader(ALICE)
        nixos_host.kill(ALICE)
        seen = await nixos_host.until_down(ALICE)
        assert seen.exit is not None
        assert (seen.exit.nonce, seen.exit.signal) == (launch.nonce, 9)
        await nixos_host.until_gone(leader)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(4, 0, id="poweroff"),
        pytest.param(5, 0, id="reboot: the harness is stopped first, and its end takes the container with it"),
        pytest.param(14, 0, id="poweroff --force"),
        pytest.param(15, 133, id="reboot --force"),
    ],
)
async def test_an_end_from_inside_keeps_its_code_and_leaves_the_restart_to_hive(
    nixos_host: NixosHost, number: int, code: int
) -> None:
    launch = await nixos_host.bring_up(ALICE)
    await nixos_host.until_up(ALICE)
    os.kill(nixos_host.leader(ALICE), signal.SIGRTMIN + number)  # what these programs tell systemd
    seen = await nixos_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.code) == (launch.nonce, code)
    await asyncio.sleep(0.3)  # longer than systemd's RestartSec: nothing may come of itself
    assert not nixos_host.backend.observe(ALICE).running


async def test_a_container_that_ends_in_its_start_has_an_exit_with_its_code(nixos_host: NixosHost) -> None:
    nixos_host.script = "exit 3"
    launch = await nixos_host.bring_up(ALICE)
    seen = await nixos_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.nonce, seen.exit.code) == (launch.nonce, 3)


async def test_a_lost_bus_stops_nothing_and_what_it_missed_is_seen_later(nixos_host: NixosHost) -> None:
    await nixos_host.bring_up(ALICE)
    await nixos_host.until_up(ALICE)
    await nixos_host.bring_up(BOB)
    before = nixos_host.backend.observe(ALICE)
    bob = nixos_host.main_pid(BOB)
    systemctl("stop", "dbus.socket", "dbus.service")
    os.kill(bob, signal.SIGKILL)
    await asyncio.sleep(0.3)  # it tries to connect, and must not conclude anything
    assert nixos_host.backend.observe(ALICE) == before
    assert nixos_host.backend.observe(BOB).running, "unknown is not stopped"
    assert any("bus is not connected" in note for note in nixos_host.backend.abilities().notes)
    systemctl("start", "dbus.service")
    seen = await nixos_host.until_down(BOB)
    assert seen.exit is not None
    assert seen.exit.signal == 9
    assert nixos_host.backend.observe(ALICE) == before
    nixos_host.kill(ALICE)
    assert (await nixos_host.until_down(ALICE)).exit is not None


async def test_a_reload_of_systemd_changes_nothing_that_is_observed(nixos_host: NixosHost) -> None:
    await nixos_host.bring_up(ALICE)
    before = nixos_host.backend.observe(ALICE)
    for _ in range(3):
        systemctl("daemon-reload")
    systemctl("daemon-reexec")
    await asyncio.sleep(0.3)
    assert nixos_host.backend.observe(ALICE) == before
    nixos_host.kill(ALICE)
    seen = await nixos_host.until_down(ALICE)
    assert seen.exit is not None
    assert seen.exit.signal == 9


DAEMON = """
import asyncio, json, sys
from pathlib import Path
from tests.systemd.inside.conftest import NixosHost
from meta.names import AgentName
async def main():
    host = NixosHost(Path("/tmp"))
    await host.open()
    launch = await host.bring_up(AgentName("alice"))
    print(json.dumps({"nonce": launch.nonce, "pid": host.main_pid(AgentName("alice"))}), flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_a_killed_daemon_leaves_the_container_to_the_next_one(nixos_host: NixosHost) -> None:
    await nixos_host.backend.close()
    with subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as daemon:
        assert daemon.stdout is not None
        said = json.loads(await asyncio.wait_for(asyncio.to_thread(daemon.stdout.readline), WAIT))
        daemon.kill()
    await nixos_host.open()
    seen = nixos_host.backend.observe(ALICE)
    assert seen.launch is not None
    assert (seen.launch.nonce, seen.pid, seen.exit) == (said["nonce"], said["pid"], None)
    await nixos_host.backend.stop(ALICE, 5)
    ended = nixos_host.backend.observe(ALICE).exit
    assert ended is not None
    assert (ended.nonce, ended.code) == (said["nonce"], 0)


async def test_a_socket_that_a_restarted_daemon_made_anew_works_in_the_running_container(nixos_host: NixosHost) -> None:
    launch = await bring_up_tiny(nixos_host)
    pid = nixos_host.main_pid(ALICE)
    for _ in range(3):  # each turn is another daemon
        said = await asyncio.to_thread(hello, nixos_host.layout.harness_socket(ALICE))
        assert (said["nonce"], said["generation"]) == (launch.nonce, launch.generation)
    assert nixos_host.main_pid(ALICE) == pid


def hello(path: Path) -> dict[str, str]:
    """Make the socket as the daemon does, and read the first line of whoever connects."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(WAIT)
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen()
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            found: dict[str, str] = json.loads(lines.readline())
            return found


async def bring_up_tiny(host: NixosHost) -> Launch:
    """alice with the harness that knows the link."""
    command = f"/usr/bin/python3 -I -S -c 'exec(open(\"@system@/{TINY.name}\").read())'"
    files = {TINY.name: TINY.read_text(), "agent.toml": ""}
    system = make_system(ALICE, command, files)
    made = host.generation(ALICE)
    generation = Generation(made.id, ALICE, made.sha, system, made.fingerprint, "test")
    await host.backend.create(ALICE, host.settings(ALICE))
    await host.backend.set_system(ALICE, generation)
    launch = host.launch(generation)
    await host.backend.start(ALICE, launch)
    return launch


async def test_the_container_runs_in_its_own_uid_range_and_so_do_its_files(nixos_host: NixosHost) -> None:
    nixos_host.script = (
        "touch /state/made /home/agent/made && cat /run/hive/launch.env >/state/env\n" + nixos_host.script
    )
    launch = await nixos_host.bring_up(ALICE)
    await nixos_host.until_up(ALICE)
    base, layout = UID_BASES["alice"], nixos_host.layout
    mapped = Path(f"/proc/{nixos_host.leader(ALICE)}/uid_map").read_text().split()
    assert mapped == ["0", str(base), "65536"]
    for path in (layout.agent_state(ALICE) / "made", layout.agent_home(ALICE) / "made"):
        assert (path.stat().st_uid, path.stat().st_gid) == (base, base)
    assert launch.nonce in (layout.agent_state(ALICE) / "env").read_text()
    sockets = layout.sockets(ALICE).stat()
    assert (sockets.st_uid, sockets.st_gid) == (os.geteuid(), base)


def enforced() -> bool:
    """Whether this host's systemd has the controllers."""
    return Path("/sys/fs/cgroup/memory").is_dir() or Path("/sys/fs/cgroup/cgroup.controllers").is_file()


async def test_the_memory_limit_ends_what_eats_too_much(nixos_host: NixosHost) -> None:
    if not enforced():
        pytest.skip("this machine has no memory controller for systemd")
    nixos_host.script = "head -c 200M /dev/zero | tail >/dev/null; exit 5"
    settings = nixos_host.settings(ALICE, memory_mib=48)
    generation = nixos_host.generation(ALICE)
    await nixos_host.backend.create(ALICE, settings)
    await nixos_host.backend.set_system(ALICE, generation)
    await nixos_host.backend.start(ALICE, nixos_host.launch(generation))
    seen = await nixos_host.until_down(ALICE)
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.signal) != (0, None)
    journal = subprocess.run(
        ["journalctl", "-b", "-o", "cat", "--no-pager"], capture_output=True, text=True, timeout=20
    )
    assert "oom" in journal.stdout.lower() or "Killed" in journal.stdout


async def test_the_limits_stand_in_the_units_control_groups(nixos_host: NixosHost) -> None:
    settings = ContainerSettings(Role.AGENT, UID_BASES["alice"], Limits(memory_mib=96, pids=70, cpu_percent=50))
    await nixos_host.bring_up(ALICE)
    await nixos_host.backend.stop(ALICE, 5)
    await nixos_host.backend.write_settings(ALICE, settings)
    await nixos_host.backend.start(ALICE, nixos_host.launch(nixos_host.generation(ALICE)))
    shown = systemctl("show", "container@alice", "-p", "MemoryMax,TasksMax,CPUQuotaPerSecUSec,Restart").split()
    wanted = {f"MemoryMax={96 * 2**20}", "TasksMax=70", "CPUQuotaPerSecUSec=500ms", "Restart=no"}
    assert set(shown) == wanted
    group = Path("/sys/fs/cgroup/memory/machine.slice/container@alice.service/memory.limit_in_bytes")
    if group.exists():
        assert int(group.read_text()) == 96 * 2**20


async def test_the_manager_sees_the_shared_directories_and_cannot_write_to_two_of_them(nixos_host: NixosHost) -> None:
    nixos_host.script = (
        "touch /agents/new /applied/new /meta/new 2>/dev/null; "
        "ls -d /agents /applied /meta /meta/new /applied/new >/state/seen 2>&1\n" + nixos_host.script
    )
    settings = ContainerSettings(Role.MANAGER, UID_BASES["manager"])
    generation = nixos_host.generation(MANAGER)
    await nixos_host.backend.create(MANAGER, settings)
    await nixos_host.backend.set_system(MANAGER, generation)
    await nixos_host.backend.start(MANAGER, nixos_host.launch(generation))
    await nixos_host.until_up(MANAGER)
    seen = (nixos_host.layout.agent_state(MANAGER) / "seen").read_text()
    assert "/agents\n" in seen
    assert "/meta/new': No such file" in seen
    assert "/applied/new': No such file" in seen


class Counting(Client):
    """The helper's client; `most` starts were under way at the same time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.now = self.most = 0

    @override
    async def start(self, name: AgentName) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await super().start(name)
        finally:
            self.now -= 1


async def test_no_more_containers_boot_at_the_same_time_than_a_wave_holds(nixos_host: NixosHost) -> None:
    for agent in (ALICE, BOB):
        await nixos_host.bring_up(agent)
        await nixos_host.backend.stop(agent, 5)
    await nixos_host.backend.close()
    helper = Counting(Path("/run/hive-privileged/socket"))
    nixos_host.backend = NixosBackend(
        nixos_host.layout, nixos_host.config, helper, Bus(Background()), where=WHERE, starts=1
    )
    await nixos_host.backend.open(nixos_host.hints.put_nowait)
    starts = [
        nixos_host.backend.start(agent, nixos_host.launch(nixos_host.generation(agent))) for agent in (ALICE, BOB)
    ]
    await asyncio.gather(*starts)
    assert all(nixos_host.backend.observe(agent).running for agent in (ALICE, BOB))
    assert helper.most == 1


async def test_a_conf_file_edited_by_hand_has_no_fingerprint_until_it_is_written_again(nixos_host: NixosHost) -> None:
    await nixos_host.bring_up(ALICE)
    conf = WHERE.etc / "alice.conf"
    conf.write_text(conf.read_text().replace("AUTO_START=0", "AUTO_START=1"))
    assert nixos_host.backend.observe(ALICE).fingerprint is None
    assert nixos_host.backend.observe(ALICE).running
    await nixos_host.backend.write_settings(ALICE, nixos_host.settings(ALICE))
    assert nixos_host.backend.observe(ALICE).fingerprint == nixos_host.settings(ALICE).fingerprint()
    assert "AUTO_START=0" in conf.read_text()
