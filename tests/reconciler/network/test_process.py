"""hive-egress as the daemon starts it: adopted, replaced, started again, ended. With the real program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from meta.agent_toml.network import Network
from meta.agent_toml.settings import AgentSettings
from meta.config import Config
from meta.errors import TransientError
from meta.layout import Layout
from meta.names import AgentName
from meta.network.report import Report
from meta.process.identity import alive, identity
from reconciler.daemon.remains import end_remains
from reconciler.network import process as process_module
from reconciler.network.client import EgressClient, OtherProtocol
from reconciler.network.operator import OperatorSettings
from reconciler.network.policies import Policies, Sources
from reconciler.network.process import LOG_LIMIT, PROGRAM, EgressCommand, EgressProcess, end, running
from reconciler.network.way_out import WayOut
from reconciler.observe.commits import RunningCommits
from reconciler.observe.roster import Roster
from reconciler.plan.observed import Container

ALICE = AgentName("alice")


def none_runs(_agent: AgentName) -> Container:
    """Return a container that does not run."""
    return Container()


def policies_of(layout: Layout, *agents: AgentName) -> Policies:
    """Policies of agents that reach one host."""

    async def settings(_agent: AgentName) -> AgentSettings:
        return AgentSettings(network=Network(allow=["a.example"]))

    async def refresh() -> None:
        """Do nothing."""

    operator = OperatorSettings(layout.network_file)
    return Policies(Sources(refresh, lambda: list(agents), settings, lambda _: (), lambda _: "", operator))


class Place:
    """A hive's directories, and what is started in them."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder / "s", folder / "r")
        self.layout.state.mkdir()
        self.client = EgressClient(self.layout.egress_control)
        self.command = EgressCommand.of(self.layout, Config(), self.layout.egress_control, "rev")
        self.process = EgressProcess(self.command, {"SSL_CERT_FILE": "/ca", "ANTHROPIC_API_KEY": "secret"})

    @property
    def pids(self) -> list[int]:
        return [which.pid for which, _ in running(self.layout.egress_state)]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    for which, _ in running(made.layout.egress_state):
        await end(which, 2)


async def test_it_is_started_once_in_its_own_session_without_the_daemons_secrets_and_ended(place: Place) -> None:
    report = await place.process.revive(place.client)
    assert place.pids == [report.pid]
    assert os.getsid(report.pid) == report.pid
    environment = Path(f"/proc/{report.pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert sorted(each.partition(b"=")[0] for each in environment) == [b"LANG", b"PATH", b"SSL_CERT_FILE"]
    assert (report.revision, place.process.starts) == ("rev", 1)

    # another daemon adopts it, also one of another revision
    later = EgressProcess(replace(place.command, revision="later"))
    assert (await later.adopt(place.client, report)).pid == (await later.revive(place.client)).pid == report.pid
    assert later.starts == 0

    # options that differ replace it
    other = EgressProcess(replace(place.command, words=(*place.command.words[:-1], "*.example")))
    newer = await other.adopt(place.client, report)
    assert place.pids == [newer.pid] != [report.pid]

    # so does a crash, at once
    which = identity(newer.pid)
    os.kill(newer.pid, signal.SIGKILL)
    while alive(which):
        await asyncio.sleep(0.005)
    healed = await other.revive(place.client)
    assert (place.pids, other.starts) == ([healed.pid], 2)

    assert await end(identity(healed.pid))
    assert place.pids == []


class FirstOther(EgressClient):
    """A client that takes the process which answers first for one of another protocol."""

    other: int | None = None

    @override
    async def report(self) -> Report:
        report = await super().report()
        self.other = self.other or report.pid
        if report.pid == self.other:
            raise OtherProtocol("hive-egress speaks protocol 2, this daemon 1")
        return report


async def test_a_hive_egress_of_another_protocol_is_replaced_at_once(place: Place) -> None:
    report = await place.process.revive(place.client)
    newer = await EgressProcess(place.command).revive(FirstOther(place.client.path))
    assert place.pids == [newer.pid] != [report.pid]


async def test_one_that_hangs_is_ended_and_started_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await place.process.revive(place.client)
    os.kill(report.pid, signal.SIGSTOP)
    monkeypatch.setattr(process_module, "START_SECONDS", 0.05)
    monkeypatch.setattr(process_module, "END_SECONDS", 0.05)
    hasty = EgressProcess(place.command)
    with contextlib.suppress(TransientError):  # the new one may need longer than this test allows
        await hasty.revive(EgressClient(place.client.path, seconds=0.05))
    assert report.pid not in place.pids
    assert hasty.starts == 1


async def test_one_that_cannot_start_is_tried_again_later_and_later_and_its_last_words_are_the_reason(
    place: Place,
) -> None:
    now = 0.0
    words = (*place.command.words, "--no-such-option")
    process = EgressProcess(replace(place.command, words=words), clock=lambda: now)
    for _ in range(2):
        with pytest.raises(TransientError, match=r"does not start: .*no-such-option"):
            await process.revive(place.client)
        now += 0.5
    with pytest.raises(TransientError, match=r"ended 1 times soon after its start: .*no-such-option"):
        await process.revive(place.client)
    assert process.starts == 2
    now += 10
    with pytest.raises(TransientError, match="does not start"):
        await process.revive(place.client)
    assert process.starts == 3


async def test_its_log_is_cut_at_a_limit_and_keeps_the_part_before(place: Place) -> None:
    report = await place.process.revive(place.client)
    log = place.layout.egress_state / "log"
    os.truncate(log, LOG_LIMIT + 1)
    await place.process.adopt(place.client, report)
    assert log.stat().st_size == 0
    assert log.with_name("log.1").stat().st_size == LOG_LIMIT + 1


def test_a_process_whose_words_only_look_alike_is_no_hive_egress(tmp_path: Path) -> None:
    assert running(tmp_path) == []


FAKE = """import sys, time
print("runs", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("prefix", "count"), [((), 1), (("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"), 0)]
)
def test_a_process_of_an_agent_that_calls_itself_hive_egress_is_none(
    tmp_path: Path, prefix: tuple[str, ...], count: int
) -> None:
    package = tmp_path / "reconciler" / "egress"
    package.mkdir(parents=True)
    for init in (package.parent, package):
        (init / "__init__.py").touch()
    (package / "__main__.py").write_text(FAKE)
    state = tmp_path / "state"
    argv = [*prefix, sys.executable, *PROGRAM, "--state", str(state)]
    env = {"PYTHONPATH": str(tmp_path), "PATH": os.defpath}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, cwd=tmp_path) as fake:
        assert fake.stdout is not None
        try:
            assert fake.stdout.readline() == b"runs\n"
            assert len(running(state)) == count
        finally:
            fake.kill()


async def test_hive_down_ends_it_and_removes_its_sockets_and_leaves_that_of_a_service_alone(place: Place) -> None:
    layout = place.layout
    report = await place.process.revive(place.client)
    folder = layout.egress(ALICE)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stray:
        stray.bind(str(folder / "egress.sock"))
    assert (await end_remains(layout, Config.model_validate({"egress_start": False}))).commands == ()
    assert place.pids == [report.pid]
    remains = await end_remains(layout, Config())
    assert remains.commands == (f"hive-egress, pid {report.pid}",)
    assert folder / "egress.sock" in remains.sockets
    assert (place.pids, list(folder.iterdir()), layout.egress_control.exists()) == ([], [], False)


async def test_the_daemon_heals_a_hive_egress_that_was_killed_within_two_seconds(place: Place) -> None:
    reasons: list[str] = []

    async def restarted(why: str) -> None:
        reasons.append(why)

    place.process = EgressProcess(place.command, {}, restarted=restarted)
    running_commits = RunningCommits(Roster(dict), none_runs)
    way_out = WayOut(place.client, policies_of(place.layout, ALICE), running_commits, place.process)
    folder = place.layout.egress(ALICE)
    folder.mkdir(parents=True)
    task = asyncio.create_task(way_out.run())
    try:
        async with asyncio.timeout(20):
            while way_out.report is None or not (folder / "egress.sock").exists():
                await asyncio.sleep(0.01)
        first = way_out.report.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(2 if not os.environ.get("PYTEST_XDIST_WORKER") else 10):
            while way_out.report.pid == first or way_out.problem:
                await asyncio.sleep(0.01)
        assert way_out.obeyed is not None
        assert (way_out.starts, place.process.ends, reasons) == (2, 1, ["signal SIGKILL"])
    finally:
        task.cancel()
        await asyncio.wait({task})
    await way_out.end()
    assert (place.pids, (folder / "egress.sock").exists(), place.client.path.exists()) == ([], False, False)
