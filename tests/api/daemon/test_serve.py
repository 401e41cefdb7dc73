"""`hive serve` as a program: what it says, how it ends, and what happens beside and without it."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Code
from api.daemon.agent_sockets import AgentSockets
from api.daemon.notify import notify
from api.daemon.serve import ServeOptions, unknown_settings
from meta.config import Config
from meta.layout import Layout
from meta.names import MANAGER
from reconciler.daemon.choices import choose
from reconciler.daemon.daemon import Daemon
from reconciler.proposals.discovery import Discovery
from tests.support.forked_hive import ForkedHive
from tests.support.newer import make_newer, snapshot


@dataclass
class Place:
    """A state and a runtime directory."""

    state: Path
    runtime: Path

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "HIVE_STATE": str(self.state),
            "HIVE_RUNTIME": str(self.runtime),
            "HIVE_BACKEND": "fake",
            "HIVE_HEALTH_STABLE": "0",
            **variables,
        }

    async def start(self, *arguments: str, module: str = "api.cli.main", **variables: str) -> ForkedHive:
        return await ForkedHive.start(arguments, self.environment(**variables), module)

    async def start_program(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        """Start the real program: with all its imports, and with the limits of this process."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api.cli.main", *arguments),
            env=self.environment(**variables),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def hive(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = await self.start(*arguments, **variables)
        async with asyncio.timeout(40):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    @asynccontextmanager
    async def serving(
        self, *, program: bool = False, **variables: str
    ) -> AsyncIterator[asyncio.subprocess.Process | ForkedHive]:
        """A daemon that is up; ended at the end. With `program` it is the real program."""
        process = await (self.start_program if program else self.start)("serve", **variables)
        try:
            async with asyncio.timeout(40):
                assert process.stdout is not None
                while b"Ctrl-C" not in (line := await process.stdout.readline()):
                    assert line, await process.communicate()
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "s", tmp_path / "r")


async def test_a_daemon_comes_up_answers_and_ends_in_good_order_on_sigterm(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        async with place.serving(program=True, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert await asyncio.to_thread(systemd.recv, 100) == b"READY=1"
            code, out, _ = await place.hive("spawn", "alice", "--wait", "--timeout", "30")
            assert code == 0
            assert out == "alice has 0 deployed\n"
            code, out, _ = await place.hive("status", "--json")
            agents = {agent["agent"]: agent["phase"] for agent in json.loads(out)["agents"]}
            assert agents["alice"] == "running"
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await process.wait() == 0
            assert (await asyncio.to_thread(systemd.recv, 100)).startswith(b"STATUS=1 agent: 1 ")
            assert await asyncio.to_thread(systemd.recv, 100) == b"STOPPING=1"
    assert not list(place.runtime.rglob("*.sock"))


async def test_a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on(place: Place) -> None:
    async with place.serving():
        code, _, err = await place.hive("serve")
        assert code == Code.CONFLICT
        assert "another daemon" in err
        assert "  try: " in err
        assert (await place.hive("list"))[0] == 0


async def test_a_daemon_whose_background_task_fails_ends_loudly_and_the_next_one_has_it_on_record(place: Place) -> None:
    for arguments in (("serve",), ("serve", "--once", "--timeout", "30")):
        process = await place.start(*arguments, module="tests.support.failing_daemon")
        async with asyncio.timeout(40):
            _, err = await process.communicate()
        assert process.returncode == Code.FAILED
        assert b"background task discovery ended: LookupError: on purpose" in err
        assert b"Traceback" in err
    assert not list(place.runtime.rglob("*.sock"))
    async with place.serving():
        _, out, _ = await place.hive("events", "--json")
        events = json.loads(out)
        failures = [event["data"] for event in events if event["kind"] == "daemon_failed"]
        assert failures == 2 * [{"task": "discovery", "error": "LookupError: on purpose"}]
        assert "daemon_stopped" not in out
        _, out, _ = await place.hive("status", "--json")
        assert "background task" not in out


async def test_status_names_the_background_task_for_which_the_daemon_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(_discovery: Discovery) -> None:
        raise LookupError("on purpose")

    monkeypatch.setattr(Discovery, "run", end)
    layout = Layout(place.state, place.runtime)
    serving = asyncio.get_running_loop().create_future()
    sockets = AgentSockets(layout, Config(), serving)
    daemon = await Daemon.open(layout, Config(), sockets, choose("fake", "plain"))
    try:
        serving.set_result(daemon.service)
        await daemon.start()
        async with asyncio.timeout(10):
            await daemon.failed()
        said = "background task discovery ended (LookupError: on purpose): the daemon stops, and agents run on"
        assert (await daemon.service.status()).notes[0] == said
    finally:
        await daemon.close()
        await sockets.close_all()


async def test_without_a_daemon_reconcile_does_one_round_and_plan_only_reads(place: Place) -> None:
    code, _, err = await place.hive("reconcile", "--plan")
    assert code == Code.NOT_FOUND
    assert str(place.state) in err
    assert not place.state.exists()
    code, _, err = await place.hive("reconcile")
    assert code == Code.NOT_FOUND
    assert not place.state.exists(), "only `hive serve` makes a hive"
    code, _, _ = await place.hive("serve", "--once")
    assert code == 0
    code, out, _ = await place.hive("reconcile", "--timeout", "30")
    assert code == 0
    assert "manager: " in out
    code, out, _ = await place.hive("reconcile", "--timeout", "30", "--json")
    assert code == 0
    assert [(row["agent"], row["step"]) for row in json.loads(out)] == [("manager", "none")]
    before = sorted(path for path in place.state.rglob("*"))
    code, out, _ = await place.hive("reconcile", "--plan", "--json")
    assert code == 0
    assert json.loads(out)[0]["agent"] == "manager"
    assert sorted(path for path in place.state.rglob("*")) == before


async def test_a_wrong_setting_keeps_the_daemon_from_starting_and_is_named(place: Place) -> None:
    process = await place.start("serve", HIVE_RESYNC="often")
    _, err = await process.communicate()
    assert process.returncode == Code.USAGE
    assert b"HIVE_RESYNC='often'" in err


@pytest.mark.parametrize(("backend", "builder"), [("nixos", "plain"), ("local", "nix")])
async def test_a_backend_that_does_not_run_what_the_builder_builds_is_refused_with_the_pairs_that_do(
    place: Place, backend: str, builder: str
) -> None:
    process = await place.start("serve", "--backend", backend, "--builder", builder)
    _, err = await process.communicate()
    assert process.returncode == Code.FAILED
    assert f"backend {backend!r} does not run what builder {builder!r} builds".encode() in err
    assert b"use --backend nixos --builder nix, or --backend local --builder plain" in err
    assert b"Traceback" not in err
    assert not place.state.exists()


async def test_a_state_with_containers_of_another_backend_is_left_alone(place: Place) -> None:
    """Root's `hive reconcile` while hive.service is down must not start everybody under the backend `local`."""
    (place.state / "backend" / "nixos" / "alice").mkdir(parents=True)
    (place.state / "meta" / ".git").mkdir(parents=True)
    for command in ("serve", "reconcile"):
        process = await place.start(command, HIVE_BACKEND="local")
        _, err = await process.communicate()
        assert process.returncode == Code.FAILED
        assert b"are of backend 'nixos', not 'local'" in err
        assert b"use --backend nixos (HIVE_BACKEND)" in err
    assert sorted(path.name for path in place.state.iterdir()) == ["backend", "meta"]


async def test_the_state_of_a_newer_hive_is_refused_and_nothing_in_it_is_changed(place: Place) -> None:
    async with place.serving() as process:
        assert (await place.hive("spawn", "alice", "--wait", "--timeout", "30"))[0] == 0
        process.terminate()
        await process.wait()
    make_newer(place.state / "hive.db")
    before = snapshot(place.state), snapshot(place.runtime)
    for command in ("serve", "reconcile"):
        code, _, err = await place.hive(command)
        assert code == Code.NEWER
        assert "was written by a newer hive (its schema is 999, this hive knows" in err
        assert "  try: install that hive again" in err
        assert "Traceback" not in err
        assert (snapshot(place.state), snapshot(place.runtime)) == before


@pytest.mark.full
async def test_a_database_from_before_brings_the_older_hive_back(place: Place, tmp_path: Path) -> None:
    assert (await place.hive("serve", "--once", "--timeout", "30"))[0] == 0
    assert (await place.hive("backup", str(tmp_path / "before.tar.gz")))[0] == 0
    make_newer(place.state / "hive.db")
    code, _, err = await place.hive("restore", str(tmp_path / "before.tar.gz"), "--only", "database", "--yes")
    assert code == 0, err
    assert (await place.hive("serve", "--once", "--timeout", "30"))[0] == 0
    assert list(place.state.glob("hive.db.before-*"))


def test_what_only_the_other_backend_or_a_dashboard_needs_is_not_imported_at_the_start() -> None:
    others = ("dbus_fast", "reconciler.builders.nix", "reconciler.backends.nixos", "api.ui.app", "jinja2", "webauthn")
    script = f"import sys, reconciler.daemon.daemon, api.daemon.serve; print([m for m in {others} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_a_variable_that_is_no_setting_is_named_with_the_nearest_one() -> None:
    environment = {"HIVE_RESINC": "5", "HIVE_STATE": "/s", "HIVE_PORT": "1", "HIVE_ZZZZZZ": "", "HOME": "/"}
    assert unknown_settings(environment) == [
        "HIVE_RESINC is not a setting of hive and has no effect; did you mean HIVE_RESYNC?",
        "HIVE_ZZZZZZ is not a setting of hive and has no effect; see docs/reference/configuration.md",
    ]


async def test_the_daemon_warns_of_a_variable_that_it_does_not_know(place: Place) -> None:
    process = await place.start("serve", "--once", HIVE_RESINC="5")
    async with asyncio.timeout(40):
        _, err = await process.communicate()
    assert process.returncode == 0
    assert b"did you mean HIVE_RESYNC?" in err


def test_no_isolation_is_an_option_that_overrules_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVE_ISOLATION", "required")
    assert ServeOptions(tmp_path, tmp_path).config().isolation == "required"
    assert ServeOptions(tmp_path, tmp_path, unsafe=True).config().isolation == "unsafe-none"


def test_nobody_is_notified_who_did_not_ask(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_an_abstract_notify_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")
        systemd.settimeout(5)
        name = systemd.getsockname()
        assert notify("READY=1", {"NOTIFY_SOCKET": "@" + name[1:].decode()})
        assert systemd.recv(100) == b"READY=1"


async def test_the_daemon_takes_all_the_open_files_that_it_may_have(place: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        async with place.serving(program=True) as process:
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_host_without_git_is_told_so_in_one_line(place: Place, tmp_path: Path) -> None:
    process = await place.start_program("serve", PATH=str(tmp_path))  # imports GitPython, which looks for git
    _, err = await process.communicate()
    assert process.returncode != 0
    assert b"git is not on PATH" in err
    assert b"Traceback" not in err


async def test_nothing_is_done_about_agents_before_the_daemon_is_started(place: Place) -> None:
    layout = Layout(place.state, place.runtime)
    sockets = AgentSockets(layout, Config(), asyncio.get_running_loop().create_future())
    daemon = await Daemon.open(layout, Config(), sockets, choose("fake", "plain"))
    try:
        daemon.world.links.legacy(MANAGER)  # one of the things that are a hint
        assert daemon.reconciler.queue.depth() == 0
    finally:
        await daemon.close()


async def test_a_restart_finds_the_agents_without_trouble_and_is_ready_when_their_sockets_answer(
    place: Place, tmp_path: Path
) -> None:
    path = str(place.runtime / "agents" / "alice" / "mcp.sock")
    for number in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            told = tmp_path / f"notify-{number}"
            systemd.bind(str(told))
            systemd.settimeout(20)
            async with place.serving(NOTIFY_SOCKET=str(told)) as process:
                assert await asyncio.to_thread(systemd.recv, 100) == b"READY=1"
                if number == 0:
                    assert (await place.hive("spawn", "alice", "--wait", "--timeout", "30"))[0] == 0
                    process.kill()
                else:
                    with socket.socket(socket.AF_UNIX) as peer:
                        peer.settimeout(10)
                        peer.connect(path)
                        peer.sendall(b'{"cmd":"whoami"}\n')
                        assert json.loads(peer.recv(1000))["name"] == "alice"
                    _, out, _ = await place.hive("events", "--json")
                    assert "reconcile_error" not in out
