"""The wire is exactly the seeds': every recorded case, and what a strict parser refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from meta.errors import BadInput
from meta.wire.agent import (
    AGENT_REQUEST,
    AGENT_RESPONSE,
    Ask,
    MessageResponse,
    Send,
    Wake,
)
from meta.wire.codec import decode, encode
from meta.wire.common import Approval, ApprovalKind, ApprovalStatus, InboxRow
from meta.wire.host import HOST_REQUEST, HOST_RESPONSE, Approve, HostResponse, ListAgents
from meta.wire.manager import MANAGER_REQUEST, GetLogs
from meta.wire.registry import ENUMS, TYPES, adapters
from meta.wire.serde import MAX_DEPTH

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "vectors.jsonl").read_text(encoding="utf-8").splitlines()
]
ALL = adapters()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['type']} {vector['given']}"[:90])
def test_a_recorded_case_decodes_to_what_the_seeds_encode(vector: dict[str, str]) -> None:
    adapter = ALL[vector["type"]]
    if "canonical" not in vector:
        with pytest.raises(BadInput):
            decode(adapter, vector["given"])
        return
    value = decode(adapter, vector["given"].encode())
    assert adapter.dump_json(value, by_alias=True).decode() == vector["canonical"]
    assert decode(adapter, vector["canonical"]) == value


def test_the_recorded_cases_cover_every_type() -> None:
    assert len(VECTORS) == 149
    assert set(TYPES) <= {vector["type"] for vector in VECTORS} <= set(ALL)
    assert set(ENUMS) == {"ApprovalKind", "ApprovalStatus", "CancelLooseEndKind"}


def test_an_older_peer_is_told_nothing_that_it_does_not_know() -> None:
    card = (
        '{"id":1,"agent":"a","commit_ref":"c","fetched_sha":"s","requested_at":2,"status":"failed","description":"d"}'
    )
    early = ALL["early.Approval"]
    assert early.dump_json(decode(early, card), by_alias=True) == (
        b'{"id":1,"agent":"a","kind":"apply_commit","commit_ref":"c","requested_at":2,"status":"failed"}'
    )
    with pytest.raises(BadInput):
        decode(ALL["early.ManagerRequest"], '{"cmd":"start","name":"a"}')


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"cmd":"send","to":"a","to":"b","body":"x"}', "duplicate field 'to'"),
        (b'{"cmd":"status","cmd":"status"}', "duplicate field 'cmd'"),
        (b'{"cmd":"send","to":"a","body":"\\ud800"}', "half of a surrogate pair"),
        (b'{"cmd":"send","to":"a","body":"\\udc00\\ud83d"}', "half of a surrogate pair"),
        (b'{"cmd":"recent","limit":NaN}', "NaN is not JSON"),
        (b'{"cmd":"recent","limit":-Infinity}', "-Infinity is not JSON"),
        (b'{"cmd":"recent","limit":1e999}', "out of range"),
        (b'{"cmd":"recent","limit":1.0}', "limit: input should be a valid integer"),
        (b'{"cmd":"recent","limit":-0}', "limit: input should be a valid integer"),
        (b'{"cmd":"recent","limit":1e2}', "limit: input should be a valid integer"),
        (b'{"cmd":"recent","limit":18446744073709551616}', "limit: input should be less than or equal to"),
        (b'{"cmd":"recent","limit":' + b"9" * 5000 + b"}", "out of range"),
        (b'{"cmd":"recent","limit":01}', "not JSON"),
        (b'{"cmd":"answer","id":true,"answer":"x"}', "id: input should be a valid integer"),
        (b'{"cmd":"answer","id":-9223372036854775809,"answer":"x"}', "id: input should be greater than"),
        (b'{"cmd":"ask","question":"q","multi":1}', "multi: input should be a valid boolean"),
        (b'{"cmd":"ask","question":"q","options":[1]}', "options.0: input should be a valid string"),
        (b'{"cmd":"send","to":"\xff","body":""}', "not UTF-8 at byte 20"),
        (b'{"cmd":"send","to":"a","body":"two\nlines"}', "not JSON"),
        (b'{"cmd":"status"} {}', "not JSON: Extra data"),
        (b'\xef\xbb\xbf{"cmd":"status"}', "not JSON"),
        (b"", "not JSON"),
        (b"null", "valid dictionary"),
        (b'"status"', "valid dictionary"),
        (b"{'cmd':'status'}", "not JSON"),
        (b'{"cmd":"frobnicate"}', "unknown cmd 'frobnicate'"),
        (b'{"cmd":7}', "cmd"),
        (b"{}", "the field 'cmd' is missing"),
        (b'{"cmd":"send","to":"a"}', "body: this field is missing"),
        (b'{"cmd":"wake","sender":"me","body":"x"}', "from: this field is missing"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_line_that_serde_refuses_is_refused_with_a_reason(line: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(AGENT_REQUEST, line)
    assert reason in caught.value.summary
    assert len(caught.value.summary) < 400
    assert caught.value.hint


@pytest.mark.parametrize("extra", ["1.0", "-0", '{"deep":[{}]}', '"\\ud83d\\ude00"', "18446744073709551617"])
def test_a_field_that_the_type_does_not_have_is_passed_over(extra: str) -> None:
    assert encode(decode(AGENT_REQUEST, f'{{"later":{extra},"cmd":"status"}}')) == b'{"cmd":"status"}'


def test_nesting_is_bounded_at_the_same_depth_as_serde() -> None:
    def nested(levels: int) -> str:
        return f'{{"cmd":"status","x":{"[" * (levels - 1)}{"]" * (levels - 1)}}}'

    decode(AGENT_REQUEST, nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(BadInput, match="levels deep"):
            decode(AGENT_REQUEST, nested(levels))


def test_many_brackets_side_by_side_or_in_a_string_are_not_deep() -> None:
    decode(AGENT_REQUEST, json.dumps({"cmd": "ask", "question": "[" * 500, "x": [[]] * 500}))


def test_the_whole_range_of_an_integer_passes() -> None:
    for value in (2**64 - 1, 0):
        assert f'"limit":{value}' in encode(decode(AGENT_REQUEST, f'{{"cmd":"recent","limit":{value}}}')).decode()
    for value in (2**63 - 1, -(2**63)):
        assert decode(HOST_REQUEST, f'{{"cmd":"approve","id":{value}}}') == Approve(id=value)
    assert decode(MANAGER_REQUEST, '{"cmd":"get_logs","agent":"a","lines":4294967295}') == GetLogs(
        agent="a", lines=2**32 - 1
    )


def test_text_survives_a_round_trip_on_one_line() -> None:
    body = 'quotes " and \\ and\nlines\r\t\0 and ü ✨ 😀 \u2028 \x7f'
    line = encode(Send(to="bob", body=body))
    assert b"\n" not in line
    assert "✨ 😀".encode() in line
    assert decode(AGENT_REQUEST, line) == Send(to="bob", body=body)


def test_from_is_called_sender_in_python_only() -> None:
    wake = Wake(sender="matrix", body="new")
    assert encode(wake) == b'{"cmd":"wake","from":"matrix","body":"new"}'
    row = decode(TYPES["InboxRow"], '{"id":1,"from":"a","body":"b","at":3,"sender":"mallory"}')
    assert row == InboxRow(id=1, sender="a", body="b", at=3)
    assert decode(AGENT_RESPONSE, encode(MessageResponse(sender="a", body="b"))) == MessageResponse(
        sender="a", body="b"
    )


def test_an_option_is_left_out_or_null_as_the_seeds_have_it() -> None:
    approval = Approval(id=1, agent="a", commit_ref="", requested_at=2, status=ApprovalStatus.PENDING)
    assert encode(approval) == (
        b'{"id":1,"agent":"a","kind":"apply_commit","commit_ref":"","requested_at":2,"status":"pending"}'
    )
    assert encode(HostResponse(ok=True, agents=())) == b'{"ok":true,"agents":[]}'
    assert b'"ttl_seconds":null,"to":null' in encode(Ask(question="q"))
    assert decode(HOST_RESPONSE, '{"ok":true,"error":null,"agents":null}') == HostResponse(ok=True)
    with pytest.raises(BadInput, match="kind"):
        decode(TYPES["Approval"], '{"id":1,"agent":"a","kind":null,"commit_ref":"","requested_at":2,"status":"failed"}')


def test_a_value_cannot_be_changed_nor_made_wrong() -> None:
    request = Approve(id=1)
    with pytest.raises(ValidationError):
        setattr(request, "id", 2)  # noqa: B010 - mypy knows that it cannot be
    with pytest.raises(ValidationError):
        Approve(id=2**63)
    with pytest.raises(BadInput, match="surrogate"):
        encode(Send(to="a", body="\ud800"))
    assert hash(ListAgents()) == hash(ListAgents())
    assert ApprovalKind("spawn") is ApprovalKind.SPAWN
