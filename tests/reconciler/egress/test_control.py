"""The control socket: the daemon's alone."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest

from meta.errors import BadInput, Refused
from meta.network.control import VERSION, decode_connections, decode_line, decode_report, encode_line
from meta.network.policy import AgentPolicy, Policy, encode_policy
from meta.network.report import Metered
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.egress import control
from reconciler.egress.options import Options
from reconciler.egress.server import Server
from tests.reconciler.egress.lab import ALICE, Lab


def pushed(*rules: str) -> dict[str, object]:
    """Return the document that pushes a policy for alice."""
    policy = Policy({ALICE: AgentPolicy(tuple(map(parse_rule, rules)))})
    return {"do": "set-policy", "policy": json.loads(encode_policy(policy))}


async def test_a_pushed_policy_is_obeyed_and_kept_when_it_is_answered(way_out: Lab) -> None:
    way_out.folder()
    target = f"up.example:{way_out.upstream.port}"

    answer = await way_out.control(pushed(target))

    assert answer == {"ok": True, "policy": way_out.server.report().policy}
    assert "200" in await way_out.status(target)
    assert target in (way_out.options.state / "policy.json").read_text()


async def test_the_report_has_what_was_carried_and_refused(way_out: Lab) -> None:
    await way_out.push()
    await way_out.status("crates.io:443")

    answer = await way_out.control({"do": "report"})
    connections = await way_out.control({"do": "connections", "agent": "alice", "after": 0})

    report = decode_report(answer["report"])
    assert (report.version, report.problems, report.agents[ALICE].verdicts) == (VERSION, (), {Verdict.NOT_LISTED: 1})
    (record,) = decode_connections(connections["connections"])
    assert (record.number, record.host, record.verdict) == (1, "crates.io", Verdict.NOT_LISTED)
    later = await way_out.control({"do": "connections", "agent": "alice", "after": 1})
    assert later["connections"] == []


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "no such request"),
        ({"do": "open-all"}, "no such request"),
        ({"do": ["report"]}, "no such request"),
        ({"do": "set-policy"}, "policy: must have exactly agents"),
        ({"do": "set-policy", "policy": {"agents": {"alice": {}}, "keep": []}}, "alice: must have exactly"),
        ({"do": "set-policy", "policy": {"agents": {"../etc": {}}, "keep": []}}, "no agent name"),
        ({"do": "connections", "agent": 1}, "connections: "),
        ({"do": "connections", "agent": "alice", "after": "x"}, "connections: "),
    ],
)
async def test_a_wrong_request_is_answered_and_changes_nothing(
    way_out: Lab, document: dict[str, object], error: str
) -> None:
    await way_out.push("a.example")
    before = way_out.server.report().policy

    answer = await way_out.control(document)

    assert (answer["ok"], str(answer["error"]).find(error) >= 0) == (False, True)
    assert way_out.server.report().policy == before


async def test_lines_that_are_not_json_are_answered(way_out: Lab) -> None:
    reader, writer = await asyncio.open_unix_connection(way_out.options.control)
    writer.write(b"\xff\n[]\n" + encode_line({"do": "report"}))

    answers = [decode_line(await reader.readline())["ok"] for _ in range(3)]

    assert answers == [False, False, True]
    writer.close()


async def test_an_endless_line_ends_its_connection(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await way_out.server.close()
    monkeypatch.setattr(control, "LINE_LIMIT", 1000)
    await way_out.start()
    reader, writer = await asyncio.open_unix_connection(way_out.options.control)
    writer.write(b"x" * 5000)

    answer = await reader.read()

    assert decode_line(answer)["error"] == "a line of more than 1000 bytes"
    writer.close()


async def test_a_stranger_is_refused(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "peer_uid", lambda connection: 4242)
    before = way_out.server.report().policy

    answer = await way_out.control(pushed("*"))

    assert answer == {"ok": False, "error": "uid 4242 may not", "hint": "only the daemon may use this socket"}
    assert way_out.server.report().policy == before


def test_the_uid_of_the_other_end_is_the_kernels_word() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)

    assert control.peer_uid(ours) == os.geteuid()
    ours.close()
    theirs.close()


async def test_the_daemon_may_have_another_uid(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await way_out.server.close()
    options = way_out.options
    way_out.options = Options(options.sockets, options.control, options.state, options.network, daemon_uid=4242)
    await way_out.start()
    monkeypatch.setattr(control, "peer_uid", lambda connection: 4242)

    assert (await way_out.control({"do": "report"}))["ok"]


async def test_a_watcher_gets_a_line_for_each_change(way_out: Lab) -> None:
    await way_out.push()
    reader, writer = await asyncio.open_unix_connection(way_out.options.control)
    writer.write(encode_line({"do": "watch"}))
    assert decode_line(await reader.readline()) == {"ok": True}

    await way_out.status("crates.io:443")
    assert decode_line(await reader.readline()) == {"changed": True}
    way_out.server._gates[ALICE].meter(Metered(1, 10, 20, 0))
    assert decode_line(await reader.readline()) == {"changed": True}

    writer.close()


async def test_a_second_process_for_the_same_control_socket_is_refused(way_out: Lab) -> None:
    options = way_out.options
    second = Server(Options(options.sockets, options.control, options.state / "second", options.network))

    with pytest.raises(Refused, match="another hive-egress serves"):
        await second.start()

    assert (await way_out.control({"do": "report"}))["ok"]


async def test_a_file_in_the_place_of_the_control_socket_is_left_alone(way_out: Lab) -> None:
    options = way_out.options
    (path := options.control.with_name("file")).write_text("not hive's")
    server = Server(Options(options.sockets, path, options.state, options.network))

    with pytest.raises(BadInput, match="cannot be bound"):
        await server.start()

    assert path.read_text() == "not hive's"


async def test_a_control_socket_with_a_long_path_is_refused_with_a_remedy(way_out: Lab) -> None:
    options = way_out.options
    path = options.control.with_name("long" * 40)
    server = Server(Options(options.sockets, path, options.state, options.network))

    with pytest.raises(BadInput, match="longer than 107 bytes"):
        await server.start()
