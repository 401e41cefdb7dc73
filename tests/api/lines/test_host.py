"""host.sock: raw bytes in, HostResponse out."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from meta.model import DeployKind
from meta.names import AgentName, ProposalId
from meta.wire.codec import decode
from meta.wire.host import HOST_RESPONSE

if TYPE_CHECKING:
    from tests.api.conftest import Hive

ME = f"operator uid {os.geteuid()}"


async def ask(host: Hive, *requests: str | bytes) -> list[dict[str, object]]:
    lines = [line.encode() if isinstance(line, str) else line for line in requests]
    answers = await host.lines(host.layout.host_socket, *(line + b"\n" for line in lines))
    for answer in answers:
        decode(HOST_RESPONSE, answer)
    return [json.loads(answer) for answer in answers]


async def test_all_nine_commands_work_on_one_connection_in_order(host: Hive) -> None:
    first, second = host.fake.add(), host.fake.add()
    answers = await ask(
        host,
        '{"cmd":"spawn","name":"bob"}',
        '{"cmd":"request_spawn","name":"carol"}',
        '{"cmd":"kill","name":"alice"}',
        '{"cmd":"rebuild","name":"alice"}',
        '{"cmd":"destroy","name":"bob","purge":true}',
        '{"cmd":"approve","id":1}',
        '{"cmd":"deny","id":2}',
        '{"cmd":"list"}',
        '{"cmd":"pending"}',
    )
    assert answers[:7] == [{"ok": True}] * 7
    assert answers[7] == {"ok": True, "agents": ["alice", "manager"]}
    assert [card["agent"] for card in answers[8]["approvals"]] == ["carol"]  # type: ignore[attr-defined]
    assert host.fake.calls == [
        ("spawn", "bob", ME),
        ("request_spawn", "carol", ME, ""),
        ("stop", "alice", ME, False),
        ("rebuild", "alice", ME, False),
        ("destroy", "bob", ME, True),
        ("approve", first.id, ME, None),
        ("deny", second.id, ME, ""),
    ]


async def test_pending_has_the_cards_exactly_as_the_wire_has_them(host: Hive) -> None:
    host.fake.add(description="adds jq")
    host.fake.add(AgentName("bob"), DeployKind.SPAWN)
    host.fake.add(kind=DeployKind.ROLLBACK)
    (answer,) = await host.lines(host.layout.host_socket, b'{"cmd":"pending"}\n')
    common = f'"commit_ref":"{"1" * 40}","fetched_sha":"{"1" * 40}","requested_at":1700000000,"status":"pending"'
    assert answer.decode() == (
        '{"ok":true,"approvals":['
        f'{{"id":1,"agent":"alice","kind":"apply_commit",{common},"description":"adds jq"}},'
        '{"id":2,"agent":"bob","kind":"spawn","commit_ref":"","requested_at":1700000000,"status":"pending"},'
        f'{{"id":3,"agent":"alice","kind":"apply_commit",{common}}}]}}'
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hello", "not JSON"),
        ("", "not JSON"),
        ("[]", ""),
        ('{"cmd":"dance"}', "unknown cmd 'dance'"),
        ('{"cmd":"approve","id":"1"}', "approve.id"),
        ('{"cmd":"approve","id":9}', "there is no proposal 9 (see `hive pending`)"),
        ('{"cmd":"approve","id":-1}', "-1 is no proposal id"),
        ('{"cmd":"spawn","name":"alice"}', "already exists"),
        ('{"cmd":"spawn","name":"operator"}', "reserved"),
        ('{"cmd":"spawn","name":"a-name-far-too-long"}', "limit is 11"),
        ('{"cmd":"spawn","name":"bob-"}', "ends in '-'"),
        ('{"cmd":"kill","name":"../etc"}', "no agent name"),
        ('{"cmd":"destroy","name":"manager"}', "cannot be destroyed"),
    ],
)
async def test_a_bad_line_is_answered_with_the_reason_and_the_connection_lives_on(
    host: Hive, line: str, words: str
) -> None:
    bad, good = await ask(host, line, '{"cmd":"list"}')
    assert bad["ok"] is False
    assert words in str(bad["error"])
    assert good["ok"] is True


async def test_bytes_that_are_no_text_are_answered(host: Hive) -> None:
    bad, good = await ask(host, b'\xff\xfe{"cmd"', '{"cmd":"list"}')
    assert "UTF-8" in str(bad["error"])
    assert good["ok"] is True


async def test_a_line_over_the_limit_is_answered_and_the_rest_of_it_skipped(host: Hive) -> None:
    bad, good = await ask(host, b'{"cmd":"list","x":"' + b"y" * 1_000_000 + b'"}', '{"cmd":"list"}')
    assert bad == {"ok": False, "error": "the line is longer than 4096 bytes (send less in one request)"}
    assert good["ok"] is True


async def test_a_half_sent_approve_approves_nothing(host: Hive) -> None:
    host.fake.add()
    answers = await host.lines(host.layout.host_socket, b'{"cmd":"list"}\n', b'{"cmd":"approve","id":1}')
    assert len(answers) == 1
    assert host.fake.calls == []


async def test_approve_and_deny_from_two_connections_have_one_winner(host: Hive) -> None:
    host.fake.add()
    path = host.layout.host_socket
    pair = await asyncio.gather(*(host.lines(path, b'{"cmd":"approve","id":1}\n') for _ in range(2)))
    assert sorted(json.loads(answer)["ok"] for (answer,) in pair) == [False, True]


def mode(host: Hive, path: str) -> int:
    return stat.S_IMODE((host.layout.runtime / path).stat().st_mode)


async def test_every_socket_is_0660(hive: Hive) -> None:
    paths = ["host.sock", "http.sock", "manager/mcp.sock", "agents/alice/harness.sock", "agents/alice/mcp.sock"]
    assert {mode(hive, path) for path in paths} == {0o660}


async def test_what_answers_approve_is_written_before(host: Hive) -> None:
    host.fake.add()
    await ask(host, '{"cmd":"approve","id":1}')
    assert (await host.fake.card(ProposalId(1))).state == "approved"
