"""What survives: the policy, the counters, and the last good version of the operator's file."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from meta import own_file
from meta.errors import Refused
from meta.network.policy import AgentPolicy, Policy
from meta.network.report import Metered
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.egress.counters import NUMBERS_SKIPPED
from reconciler.egress.options import Options
from reconciler.egress.server import Server
from reconciler.egress.state import lock_state
from tests.reconciler.egress.lab import ALICE, BOB, WAIT, Lab, eventually

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


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file be written."""

    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reconciler.egress.policy_file.own_file.write", full)


async def test_a_policy_that_cannot_be_kept_is_obeyed_and_is_a_problem(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    ended, _ = await way_out.tunnel(target)
    fill_the_disk(monkeypatch)

    await way_out.push("new.example")

    assert await ended.read() == b""
    assert "is-not-on-the-list" in await way_out.status(target)
    assert "No space left on device" in way_out.server.report().problems[0]


async def test_a_policy_that_was_taken_back_is_not_obeyed_after_a_restart_without_room(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await way_out.push("*")
    fill_the_disk(monkeypatch)
    await way_out.push()
    await way_out.server.close()

    await way_out.start()

    assert (way_out.server.report().policy, way_out.server.report().agents) == ("", {})


async def test_a_policy_that_could_not_be_kept_is_kept_once_there_is_room(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as disk:
        fill_the_disk(disk)
        await way_out.push("new.example")

    await way_out.server.tick()

    assert way_out.server.report().problems == ()
    assert "new.example" in (way_out.options.state / "policy.json").read_text()


async def test_an_old_policy_that_cannot_be_removed_either_is_named(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await way_out.push("old.example")
    fill_the_disk(monkeypatch)

    def keep(path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "unlink", keep)
        await way_out.push()

    assert "an older one is obeyed after a restart" in way_out.server.report().problems[0]


async def test_a_disk_that_hangs_delays_no_policy(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    go_on = threading.Event()
    write = own_file.write

    def hang(path: Path, data: bytes, *, mode: int) -> None:
        go_on.wait(WAIT)
        write(path, data, mode=mode)

    monkeypatch.setattr("reconciler.egress.policy_file.own_file.write", hang)
    pushes = [asyncio.create_task(way_out.push(rule)) for rule in ("first.example", "second.example")]
    revision = Policy({ALICE: AgentPolicy((parse_rule("second.example"),))}).revision
    await eventually(lambda: way_out.server.report().policy == revision)

    assert "is-not-on-the-list" in await way_out.status(target)
    go_on.set()
    await asyncio.gather(*pushes)
    assert "second.example" in (way_out.options.state / "policy.json").read_text()


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


async def test_an_agent_of_another_identity_has_new_books(way_out: Lab) -> None:
    way_out.folder()
    for identity in ("first", "second"):
        await way_out.server.set_policy(Policy({ALICE: AgentPolicy(identity=identity)}))
        assert way_out.report().refusals == ()
        await way_out.status("crates.io:443")
        way_out.server._gates[ALICE].meter(Metered(1, 10, 20, 3))
    await way_out.server.close()

    await way_out.start()
    assert way_out.report().refusals[0].host == "crates.io"
    await way_out.server.close()
    (way_out.options.state / "policy.json").unlink()
    await way_out.start()
    await way_out.server.set_policy(Policy({ALICE: AgentPolicy(identity="third")}))

    assert (way_out.report().refusals, way_out.report().metered) == ((), {})


async def test_an_agent_of_another_identity_has_no_connection_of_the_old_one(way_out: Lab) -> None:
    rules = (parse_rule(target := f"up.example:{way_out.upstream.port}"),)
    way_out.folder()
    await way_out.server.set_policy(Policy({ALICE: AgentPolicy(rules, identity="first")}))
    reader, _ = await way_out.tunnel(target)

    await way_out.server.set_policy(Policy({ALICE: AgentPolicy(rules, identity="second")}))

    assert await reader.read() == b""
    assert "200" in await way_out.status(target)


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
