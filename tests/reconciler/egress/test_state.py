"""What survives: the policy, the counters, and the last good version of the operator's file."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from meta.errors import DiskFull, Refused
from meta.network.report import Metered
from meta.network.verdict import Verdict
from reconciler.egress import policy_file
from reconciler.egress.counters import NUMBERS_SKIPPED
from reconciler.egress.network_file import NetworkFile
from reconciler.egress.options import Options
from reconciler.egress.server import Server
from reconciler.egress.state import lock_state
from tests.reconciler.egress.lab import ALICE, BOB, Lab

ROOT = Path(__file__).parents[3]


async def test_the_kept_policy_is_obeyed_without_a_daemon(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    revision = way_out.server.report().policy
    await way_out.server.close()

    await way_out.start()

    assert way_out.server.report().policy == revision
    assert "200" in await way_out.status(target)


@pytest.mark.parametrize("content", [b"", b"{", b'{"agents": {"alice": {"rules": ["*"]}}}', b"[" * 100_000])
async def test_a_damaged_policy_opens_nothing_and_is_a_problem(way_out: Lab, content: bytes) -> None:
    await way_out.push("*")
    await way_out.server.close()
    (way_out.options.state / "policy.json").write_bytes(content)

    await way_out.start()

    report = way_out.server.report()
    assert (report.policy, report.agents) == ("", {})
    assert "nothing is open until the daemon pushes a policy" in report.problems[0]
    assert not (way_out.folder() / "egress.sock").exists()
    await way_out.push("*")
    assert way_out.server.report().problems == ()


async def test_a_policy_that_cannot_be_kept_is_not_obeyed(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await way_out.push("old.example")
    before = way_out.server.report().policy

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(policy_file, "write_file", full)
    with pytest.raises(DiskFull, match="No space left on device"):
        await way_out.push("new.example")

    assert way_out.server.report().policy == before
    assert "403" in await way_out.status("new.example:443")
    assert "old.example" in (way_out.options.state / "policy.json").read_text()


async def test_counters_survive_a_restart(way_out: Lab) -> None:
    await way_out.push()
    await way_out.status("crates.io:443")
    way_out.server._gates[ALICE].meter(Metered(1, 10, 20, 3))
    before = way_out.report()
    await way_out.server.close()

    await way_out.start()
    await way_out.status("pypi.org:443")

    after = way_out.report()
    assert after.verdicts == {Verdict.NOT_LISTED: 2}
    assert after.refusals[0] == before.refusals[0]
    assert after.metered == {"2026-11-30": Metered(1, 10, 20, 3)}
    assert [record.number for record in way_out.records()] == [1 + NUMBERS_SKIPPED + 1]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"agents": {"alice": {"sent": "x"}}}'])
async def test_damaged_counters_begin_anew_and_are_a_problem(way_out: Lab, content: bytes) -> None:
    await way_out.push()
    await way_out.server.close()
    (way_out.options.state / "counters.json").write_bytes(content)

    await way_out.start()

    assert way_out.report().verdicts == {}
    assert "begin anew" in way_out.server.report().problems[0]


async def test_counters_of_an_agent_that_is_gone_are_dropped(way_out: Lab) -> None:
    await way_out.push()
    await way_out.status("crates.io:443")
    await way_out.push(agent=BOB)

    await way_out.push()

    assert way_out.report().verdicts == {}


async def test_a_broken_new_operator_file_is_not_obeyed_and_is_a_problem(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)

    way_out.configure("private = [")
    await way_out.server.tick()

    assert "200" in await way_out.status(target)
    assert "not TOML" in way_out.server.report().problems[0]
    way_out.configure("")
    await way_out.server.tick()
    assert way_out.server.report().problems == ()
    assert "loopback" in await way_out.status(target)


def test_a_ceiling_that_cannot_be_read_lets_nothing_pass(tmp_path: Path) -> None:
    network = NetworkFile(tmp_path / "network.toml", "*.example @python")
    assert not network.within_ceiling("a.example", 443)
    assert "@python" in network.problem

    (tmp_path / "network.toml").write_text('[groups]\npython = ["pypi.org"]')
    network.reload()

    assert network.problem == ""
    assert network.within_ceiling("a.example", 443)
    assert network.within_ceiling("pypi.org", 443)
    assert not network.within_ceiling("crates.io", 443)


def test_a_second_process_on_the_same_state_is_refused(tmp_path: Path) -> None:
    descriptor = lock_state(tmp_path)

    with pytest.raises(Refused, match="another hive-egress uses"):
        lock_state(tmp_path)

    os.close(descriptor)
    os.close(lock_state(tmp_path))


def test_what_a_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".policy.json.0123abcd").write_text("half")

    os.close(lock_state(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


async def test_the_program_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    words = [f"--{name}={tmp_path / name}" for name in ("sockets", "control", "state", "network")]
    program = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{_RUN}", *words]
    process = await asyncio.create_subprocess_exec(*program, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    assert b"hive-egress serves" in await process.stderr.readline()

    second = await asyncio.create_subprocess_exec(*program, stderr=asyncio.subprocess.PIPE)
    _, error = await second.communicate()
    process.send_signal(signal.SIGTERM)

    assert second.returncode == 2
    assert b"another hive-egress uses" in error
    assert await process.wait() == 0
    assert not (tmp_path / "control").exists()


async def test_the_server_needs_no_folder_of_sockets(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    server = Server(Options(tmp_path / "none", tmp_path / "c.sock", tmp_path / "state", tmp_path / "network.toml"))
    await server.start()
    await server.tick()

    assert server.report().problems == ()
    await server.close()


_RUN = "from reconciler.egress.__main__ import main\nsys.exit(main())"
