"""The hosts on which the contract of backends is tried: one class per backend, all with the same face.

A later backend adds a class and its name to HOSTS; the tests stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import pytest
import pytest_asyncio
from typing_extensions import override

from meta.config import Config
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Limits, Role
from meta.names import AgentName, GenerationId, Sha
from meta.process import sandbox
from reconciler.backends.base import Backend
from reconciler.backends.fake import FakeBackend
from reconciler.backends.local.backend import LocalBackend
from reconciler.backends.local.cgroups import detect
from reconciler.plan.observed import Container, Launch

WAIT = 10.0
SCRIPT = """
trap 'exit 0' TERM
trap 'exit 7' USR1
sleep 1000 &
echo "up $HIVE_AGENT $HIVE_BOOT_NONCE"
while :; do wait; done
"""


BackendT = TypeVar("BackendT", bound=Backend)


class BackendHost(ABC, Generic[BackendT]):
    """A backend with its surroundings, and what people and accidents do to containers."""

    backend: BackendT

    def __init__(self, tmp_path: Path) -> None:
        self.layout = Layout(tmp_path / "state", tmp_path / "run")
        self.config = Config.model_validate({"stop_grace": 5.0})
        self.owner = secrets.token_hex(16)
        self.hints: asyncio.Queue[AgentName] = asyncio.Queue()

    @abstractmethod
    def make(self) -> BackendT:
        """A new object of the backend, as a new daemon would make it."""

    async def open(self) -> None:
        """Open a new object."""
        self.backend = self.make()
        await self.backend.open(self.hints.put_nowait)

    async def reopen(self) -> None:
        """What a restart of the daemon does."""
        await self.backend.close()
        await self.open()

    def settings(self, agent: AgentName, memory_mib: int = 512) -> ContainerSettings:
        """Settings; another memory limit makes another fingerprint."""
        return ContainerSettings(Role.AGENT, 600_000, Limits(memory_mib=memory_mib, pids=64))

    def generation(self, agent: AgentName, number: int = 1, runtime: str = "claude") -> Generation:
        """A generation that the backend can be switched to."""
        id = GenerationId(f"{number:020x}")
        settings = self.settings(agent)
        system = self.layout.generation(agent, id)
        (system / "tree").mkdir(parents=True, exist_ok=True)
        (system / "tree" / "agent.toml").write_text(f"# {number}\n")
        (system / "generation.json").write_text(json.dumps({"id": id, "runtime": runtime}))
        return Generation(id, agent, Sha("a" * 40), system, settings.fingerprint(), "test")

    def launch(self, generation: Generation) -> Launch:
        """One start of it."""
        return Launch(generation.id, generation.fingerprint, secrets.token_hex(8), time.time(), restarts=3)

    async def bring_up(self, agent: AgentName, number: int = 1) -> Launch:
        """Create, set and start."""
        generation = self.generation(agent, number)
        await self.backend.create(agent, self.settings(agent))
        await self.backend.set_system(agent, generation)
        await self.backend.write_settings(agent, self.settings(agent))
        launch = self.launch(generation)
        await self.backend.start(agent, launch)
        return launch

    async def until_down(self, agent: AgentName) -> Container:
        """Wait for the hint after which it no longer runs."""
        async with asyncio.timeout(WAIT):
            while self.backend.observe(agent).running:
                await self.hints.get()
        return self.backend.observe(agent)

    @abstractmethod
    async def until_up(self, agent: AgentName) -> None:
        """Wait until what runs inside said its first line."""

    @abstractmethod
    def alive(self, pid: int) -> bool:
        """Whether that process is there."""

    @abstractmethod
    def crash(self, agent: AgentName) -> None:
        """It exits by itself with code 7."""

    @abstractmethod
    def kill(self, agent: AgentName) -> None:
        """Somebody kills its pid with SIGKILL."""

    @abstractmethod
    def lose(self, agent: AgentName) -> None:
        """It ends without a witness."""

    @abstractmethod
    def vanish(self, agent: AgentName) -> None:
        """Somebody deletes it by hand."""

    @abstractmethod
    def edit_settings(self, agent: AgentName) -> None:
        """Somebody edits its settings by hand."""

    @abstractmethod
    def delete_settings(self, agent: AgentName) -> None:
        """Somebody deletes its settings by hand."""

    @abstractmethod
    def delete_system(self, agent: AgentName) -> None:
        """Somebody removes what it is switched to."""

    @abstractmethod
    def make_foreign(self, agent: AgentName) -> None:
        """There is a container of that name that another hive made."""


class FakeHost(BackendHost[FakeBackend]):
    """Backend `fake`."""

    @override
    def make(self) -> FakeBackend:
        return FakeBackend(self.layout, owner=self.owner)

    @override
    async def until_up(self, agent: AgentName) -> None:
        return

    @override
    def alive(self, pid: int) -> bool:
        return any(self.backend.observe(agent).pid == pid for agent in self.backend.names())

    @override
    def crash(self, agent: AgentName) -> None:
        self.backend.crash(agent, code=7)

    @override
    def kill(self, agent: AgentName) -> None:
        self.backend.crash(agent, signal=9)

    @override
    def lose(self, agent: AgentName) -> None:
        self.backend.lose(agent)

    @override
    def vanish(self, agent: AgentName) -> None:
        self.backend.vanish(agent)

    @override
    def edit_settings(self, agent: AgentName) -> None:
        self.backend.edit_settings(agent)

    @override
    def delete_settings(self, agent: AgentName) -> None:
        self.backend.delete_settings(agent)

    @override
    def delete_system(self, agent: AgentName) -> None:
        self.backend.delete_system(agent)

    @override
    def make_foreign(self, agent: AgentName) -> None:
        folder = self.layout.backend("fake")
        (folder / f"{agent}.json").write_text(json.dumps({"owner": "somebody else", "pid": 1}))


class LocalHost(BackendHost[LocalBackend]):
    """Backend `local` with a shell script in the place of the harness."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.script = SCRIPT
        self.log_limit = 2**20

    @override
    def make(self) -> LocalBackend:
        def command(agent: AgentName, launch: Launch) -> Sequence[str]:
            return ["/bin/sh", "-c", self.script]

        return LocalBackend(self.layout, self.config, owner=self.owner, command=command, log_limit=self.log_limit)

    def folder(self, agent: AgentName) -> Path:
        return self.layout.backend("local") / agent

    def record(self, agent: AgentName) -> dict[str, dict[str, int]]:
        """run.json."""
        found = json.loads((self.folder(agent) / "run.json").read_text())
        return {"supervisor": found["supervisor"], "child": found["child"]}

    def inside(self, agent: AgentName) -> list[int]:
        """The agent's own processes in its sandbox, as the host numbers them."""
        child = self.record(agent)["child"]["pid"]
        return [pid for init in _children(child) for pid in _children(init)]

    @override
    async def until_up(self, agent: AgentName) -> None:
        await self.until_logged(agent, "\n")

    async def until_logged(self, agent: AgentName, text: str) -> str:
        """Wait until its output holds `text`."""
        async with asyncio.timeout(WAIT):
            while text not in (found := await self.raw_log(agent)):
                await asyncio.sleep(0.005)  # a file has no event; bounded by the timeout
        return found

    async def raw_log(self, agent: AgentName) -> str:
        """Its output as it is in the file."""
        try:
            return (self.folder(agent) / "log").read_text()
        except FileNotFoundError:
            return ""

    @override
    def alive(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    @override
    def crash(self, agent: AgentName) -> None:
        os.kill(self.inside(agent)[0], signal.SIGUSR1)

    @override
    def kill(self, agent: AgentName) -> None:
        os.kill(self.backend.observe(agent).pid or 0, signal.SIGKILL)

    @override
    def lose(self, agent: AgentName) -> None:
        os.kill(self.record(agent)["supervisor"]["pid"], signal.SIGKILL)

    @override
    def vanish(self, agent: AgentName) -> None:
        gone = self.layout.state / "gone"
        self.folder(agent).rename(gone)  # at once: a supervisor may be writing
        shutil.rmtree(gone)

    @override
    def edit_settings(self, agent: AgentName) -> None:
        path = self.folder(agent) / "settings.json"
        found = json.loads(path.read_text())
        found["settings"]["limits"]["memory_mib"] = 64_000
        path.write_text(json.dumps(found))

    @override
    def delete_settings(self, agent: AgentName) -> None:
        (self.folder(agent) / "settings.json").unlink()

    @override
    def delete_system(self, agent: AgentName) -> None:
        (self.folder(agent) / "system").unlink()

    @override
    def make_foreign(self, agent: AgentName) -> None:
        self.folder(agent).mkdir(parents=True)
        (self.folder(agent) / "precious").write_text("not hive's")


HOSTS: dict[str, type[FakeHost] | type[LocalHost]] = {"fake": FakeHost, "local": LocalHost}


@pytest_asyncio.fixture(params=sorted(HOSTS))
async def backend_host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeHost | LocalHost]:
    """Each backend in turn, open, with no containers."""
    async for host in _running(HOSTS[request.param](tmp_path)):
        yield host


@pytest_asyncio.fixture
async def local_host(tmp_path: Path) -> AsyncIterator[LocalHost]:
    """Backend `local` only."""
    async for host in _running(LocalHost(tmp_path)):
        assert isinstance(host, LocalHost)
        yield host


@pytest_asyncio.fixture
async def open_host() -> AsyncIterator[LocalHost]:
    """Backend `local` in a directory that every uid may pass (pytest closes its own again and again)."""
    with tempfile.TemporaryDirectory(prefix="hive-test-") as folder:
        Path(folder).chmod(0o755)
        async for host in _running(LocalHost(Path(folder))):
            assert isinstance(host, LocalHost)
            yield host


async def _running(host: FakeHost | LocalHost) -> AsyncIterator[FakeHost | LocalHost]:
    if isinstance(host, LocalHost) and sandbox.available() is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    await host.open()
    try:
        yield host
    finally:
        for agent in host.backend.names():
            await host.backend.stop(agent, 0)
            await host.backend.destroy(agent)
        await host.backend.close()
        assert _supervisors(host.layout.state) == []
        assert not any(directory.parent.exists() for directory in detect(host.owner).directories(AgentName("any")))


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _supervisors(state: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if str(state) in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
    return found
