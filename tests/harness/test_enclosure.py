"""The surroundings of a CLI."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.enclosure import Pod, enclosed
from harness.environment import Environment, read_environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.link import Link
from harness.pods import hive_above
from harness.runtimes.start_files import write_private
from harness.scope.bounds import EVERYTHING, decode_bounds, grants_of
from harness.scope.plan import NOTHING
from meta.agent_toml.settings import AgentSettings
from meta.process import landlock
from meta.process.landlock import HOLDS
from meta.scope.rules import READ, WRITE, Rule


def environment(tmp_path: Path, **more: str) -> tuple[Environment, dict[str, str]]:
    paths = {f"HIVE_{name}": str(tmp_path / name.lower()) for name in ("RUN", "STATE", "EGRESS", "CONFIG")}
    variables = {"HIVE_AGENT": "alice", "HIVE_BOOT_NONCE": "n0nce", "HOME": str(tmp_path / "home"), **paths, **more}
    (tmp_path / "state").mkdir(exist_ok=True)
    return read_environment(variables), variables


def of(env: Mapping[str, str]) -> AgentSettings:
    return AgentSettings.model_validate({"runtime": "claude", "env": dict(env)})


async def test_the_environment_is_what_is_listed_and_nothing_of_the_harness(tmp_path: Path) -> None:
    where, variables = environment(tmp_path, PATH="/programs/bin:/usr/bin", SECRET="hunter2", HIVE_PORT="0")
    async with enclosed(where, of({"GOFLAGS": "-mod=mod"}), variables) as (enclosure, _):
        env = enclosure.env
        assert env["PATH"] == "/programs/bin:/usr/bin"
        assert (env["HOME"], env["GOFLAGS"], env["HIVE_AGENT"]) == (str(tmp_path / "home"), "-mod=mod", "alice")
        assert "127.0.0.1" in env["NO_PROXY"].split(",")
        assert not {"ALL_PROXY", "all_proxy"} & env.keys()
        assert not {"SECRET", "HIVE_BOOT_NONCE", "HIVE_RUN", "HIVE_STATE"} & env.keys()
        assert enclosure.mcp is not None
        assert enclosure.mcp.token not in str(enclosure)
        assert enclosure.mcp.token not in "".join(env.values())


async def test_folders_are_closed_and_the_one_of_the_start_is_not_in_the_state_and_goes(tmp_path: Path) -> None:
    where, variables = environment(tmp_path)
    async with enclosed(where, of({}), variables) as (enclosure, _):
        assert enclosure.work == where.state / "work"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (enclosure.work, enclosure.files)] == [0o700, 0o700]
        assert not enclosure.files.is_relative_to(where.state)
        (enclosure.files / "mcp.json").write_text("{}")
    assert not enclosure.files.exists()
    assert enclosure.work.exists()


async def test_files_for_a_cli_of_another_uid_are_its_groups_to_read_and_nobody_elses(tmp_path: Path) -> None:
    shared = tmp_path / "cli-files"
    shared.mkdir()
    os.chown(shared, -1, 70_004 if os.geteuid() == 0 else os.getegid())
    shared.chmod(0o2750)
    where, variables = environment(tmp_path, HIVE_CLI_FILES=str(shared))
    async with enclosed(where, of({}), variables) as (enclosure, _):
        write_private(enclosure.files / "mcp.json", "{}")
        seen = [path.stat() for path in (enclosure.files, enclosure.files / "mcp.json")]
        assert [stat.S_IMODE(status.st_mode) for status in seen] == [0o2750, 0o640]
        assert {status.st_gid for status in seen} == {shared.stat().st_gid}
    assert list(shared.iterdir()) == []
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    write_private(closed / "mcp.json", "{}")
    assert stat.S_IMODE((closed / "mcp.json").stat().st_mode) == 0o600


async def test_the_ports_lead_to_the_tools_and_to_the_way_out(tmp_path: Path) -> None:
    where, variables = environment(tmp_path)
    (tmp_path / "egress").mkdir()
    reached: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.readline())
        writer.close()

    async with (
        asyncio.timeout(20),
        await asyncio.start_unix_server(serve, tmp_path / "egress" / "egress.sock"),
        enclosed(where, of({}), variables) as (enclosure, _),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(enclosure.env["https_proxy"].rsplit(":", 1)[1]))
        writer.write(b"GET / HTTP/1.1\n")
        assert await reader.read() == b""
        writer.close()
    assert reached == [b"GET / HTTP/1.1\n"]


@pytest.mark.parametrize("text", ["", "x", "-1", "65536", "1e3", "9" * 30, "²"])
async def test_a_port_that_is_none_is_any(tmp_path: Path, text: str) -> None:
    assert environment(tmp_path, HIVE_PORT=text)[0].port == 0


async def test_the_tools_are_at_the_port_that_hive_chose(tmp_path: Path, unused_tcp_port_: int) -> None:
    where, variables = environment(tmp_path, HIVE_PORT=str(unused_tcp_port_))
    async with enclosed(where, of({}), variables) as (enclosure, _):
        assert enclosure.mcp is not None
        assert enclosure.mcp.url == f"http://127.0.0.1:{unused_tcp_port_}/mcp"


@pytest.fixture
async def unused_tcp_port_() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_without_a_scope_a_cli_is_kept_to_all_but_what_is_lent_and_else_to_nothing(tmp_path: Path) -> None:
    where, variables = environment(tmp_path)
    lent: list[Rule] = []
    pod = Pod(lambda: EVERYTHING if lent else None, lambda: tuple(lent))
    async with enclosed(where, of({}), variables, pod) as (enclosure, _):
        assert enclosure.bounds() is None
        lent.append(Rule(str(where.state / "work"), WRITE))
        bounds = enclosure.bounds()
        assert bounds is not None
        assert (bounds.scope, bounds.delegated) == (EVERYTHING, tuple(lent))
        grants = grants_of(replace(bounds, needs=NOTHING), HOLDS) or ()  # which has the /tmp of this test
        granted = [grant.path for grant in grants if grant.right == landlock.WRITE]
        assert len(granted) > 3
        assert not any((where.state / "work").is_relative_to(path) for path in granted)


async def test_the_scope_of_agent_toml_and_what_its_cli_needs_are_its_bounds(tmp_path: Path) -> None:
    where, variables = environment(tmp_path, HIVE_SOFT_SCOPES="true")
    for folder in (where.config, tmp_path / "home"):
        folder.mkdir()
    table = {"runtime": "claude", "scope": {"allow": [{"target": "docs", "permission": "read"}]}}
    settings = AgentSettings.model_validate(table)
    store = EventStore(tmp_path / "events.sqlite")
    above = hive_above(where, settings, Link(where, Gate(), Bus(store)))
    store.close()
    async with enclosed(where, settings, variables, Pod(lambda: above.scope)) as (enclosure, _):
        bounds = enclosure.bounds()
        assert bounds is not None
        assert bounds.scope.allow == (Rule(str(where.config / "docs"), READ),)
        assert {str(where.config), str(enclosure.files), "/usr"} <= set(bounds.needs.read)
        assert {str(tmp_path / "home"), "/tmp"} <= set(bounds.needs.write)
        assert bounds.soft
        assert decode_bounds(bounds.encode()) == bounds == enclosure.bounds()
