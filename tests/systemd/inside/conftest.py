"""Backend `nixos` on the host it is made for: these tests run inside of it (tests/systemd/test_host.py starts them)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from typing_extensions import override

from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Limits, Role
from meta.names import AgentName, GenerationId, Sha
from reconciler.backends.nixos.backend import NixosBackend
from reconciler.backends.nixos.bus import Bus
from reconciler.backends.nixos.records import Where
from reconciler.common.tasks import Background
from reconciler.privileged.client import Client
from reconciler.privileged.values import Bounds
from tests.contract.conftest import SCRIPT, WAIT, BackendHost
from tests.support.systemd.host import HOME
from tests.support.systemd.stand_in import make_system

pytest.register_assert_rewrite("tests.contract.test_backends")

UID_BASES = {"alice": 655_360, "bob": 720_896, "manager": 786_432}
WHERE = Where(bounds=Bounds(store=str(HOME / "store")))


class NixosHost(BackendHost[NixosBackend]):
    """Backend `nixos` with real units, nspawn and journal; a shell script in the place of the harness."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.layout = Layout(HOME / "state", Path("/run/hyperhive"))
        self.script = SCRIPT
        self.files: dict[str, str] = {}
        for folder in (self.layout.state, self.layout.runtime):
            folder.mkdir(parents=True, exist_ok=True)

    @override
    def make(self) -> NixosBackend:
        helper = Client(Path("/run/hive-privileged/socket"))
        return NixosBackend(self.layout, self.config, helper, Bus(Background()), where=WHERE)

    @override
    def settings(self, agent: AgentName, memory_mib: int = 512) -> ContainerSettings:
        return ContainerSettings(Role.AGENT, UID_BASES[agent], Limits(memory_mib=memory_mib, pids=64))

    @override
    def generation(self, agent: AgentName, number: int = 1, runtime: str = "claude") -> Generation:
        system = make_system(
            agent, "/bin/sh @system@/script", {"script": self.script, "number": str(number), **self.files}
        )
        settings = self.settings(agent)
        id = GenerationId(f"{number:020x}")
        return Generation(id, agent, Sha("a" * 40), system, settings.fingerprint(), "test")

    def folder(self, agent: AgentName) -> Path:
        return self.layout.backend("nixos") / agent

    def main_pid(self, agent: AgentName) -> int:
        """nspawn, which stands for the container."""
        pid = self.backend.observe(agent).pid
        assert pid is not None
        return pid

    def leader(self, agent: AgentName) -> int:
        """The container's own systemd."""
        return next(pid for pid in _children(self.main_pid(agent)) if _words(pid)[0].endswith("systemd"))

    def harness(self, agent: AgentName) -> int:
        """What runs in it, as the host numbers it."""
        return next(pid for pid in _children(self.leader(agent)) if "script" in " ".join(_words(pid)))

    async def until_logged(self, agent: AgentName, text: str) -> None:
        """Wait until its journal holds `text`."""
        async with asyncio.timeout(WAIT):
            while text not in await self.backend.logs(agent, 20):
                await asyncio.sleep(0.02)  # the helper gives no event for a line; bounded by the timeout

    @override
    async def until_up(self, agent: AgentName) -> None:
        launch = self.backend.observe(agent).launch
        assert launch is not None
        await self.until_logged(agent, launch.nonce)

    @override
    def alive(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    async def until_gone(self, pid: int) -> None:
        """Wait until the process has ended: it leaves its control group, which ends the unit, a moment before."""
        async with asyncio.timeout(WAIT):
            while self.alive(pid):
                await asyncio.sleep(0.02)  # it is the child of another; bounded by the timeout

    @override
    def crash(self, agent: AgentName) -> None:
        os.kill(self.harness(agent), signal.SIGUSR1)

    @override
    def kill(self, agent: AgentName) -> None:
        os.kill(self.main_pid(agent), signal.SIGKILL)

    @override
    def lose(self, agent: AgentName) -> None:
        """It ends while there is no bus, and is forgotten before the bus is back."""
        systemctl("stop", "dbus.socket", "dbus.service")
        systemctl("stop", f"container@{agent}.service")
        systemctl("reset-failed")
        systemctl("start", "dbus.service")

    @override
    def vanish(self, agent: AgentName) -> None:
        (WHERE.etc / f"{agent}.conf").unlink()

    @override
    def edit_settings(self, agent: AgentName) -> None:
        path = self.folder(agent) / "settings.json"
        path.write_text(path.read_text().replace('"memory_mib": 512', '"memory_mib": 64000'))

    @override
    def delete_settings(self, agent: AgentName) -> None:
        (self.folder(agent) / "settings.json").unlink()

    @override
    def delete_system(self, agent: AgentName) -> None:
        (WHERE.profiles / agent / "system").unlink()

    @override
    def make_foreign(self, agent: AgentName) -> None:
        (WHERE.etc / f"{agent}.conf").write_text("PRIVATE_NETWORK=1\nAUTO_START=1\n")

    def remove(self) -> None:
        """Leave nothing for the next test."""
        for conf in WHERE.etc.glob("*.conf"):
            conf.unlink()
        for folder in (self.layout.state, self.layout.runtime):
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def systemctl(*words: str) -> str:
    """systemctl's own private socket needs no bus."""
    done = subprocess.run(["systemctl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _words(pid: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return [""]


@pytest_asyncio.fixture
async def nixos_host(tmp_path: Path) -> AsyncIterator[NixosHost]:
    """Backend `nixos`, open, with no containers."""
    host = NixosHost(tmp_path)
    await host.open()
    try:
        yield host
    finally:
        for agent in host.backend.names():
            await host.backend.stop(agent, 0)
            await host.backend.destroy(agent)
        await host.backend.close()
        host.remove()
        units = systemctl("list-units", "--no-legend", "--state=active", "container@*")
        assert units == "", "containers are left"


@pytest.fixture
def backend_host(nixos_host: NixosHost) -> NixosHost:
    """The name that the contract uses."""
    return nixos_host
