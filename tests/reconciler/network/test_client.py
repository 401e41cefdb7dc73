"""The client of hive-egress: what it asks, and that it waits for no answer without an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import BadInput, PermanentError, TransientError
from meta.names import AgentName
from meta.network.control import encode_line
from meta.network.policy import AgentPolicy, Policy
from meta.network.report import AgentReport, ConnectionRecord, Metered, Refusal
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.network import client as client_module
from reconciler.network.client import EgressClient
from tests.support.fake_egress import fake_egress

ALICE = AgentName("alice")


async def test_a_policy_is_pushed_and_the_report_and_the_connections_are_read(tmp_path: Path) -> None:
    client, policy = EgressClient(tmp_path / "c"), Policy({ALICE: AgentPolicy((parse_rule("example.org"),))})
    record = ConnectionRecord(7, 1.0, "tunnel", "example.org", 443, Verdict.ALLOWED, end="closed")
    async with fake_egress(client.path) as fake:
        refusal = Refusal("b.example", 443, Verdict.NOT_LISTED, 2, 1.0, 2.0)
        fake.agents["alice"] = AgentReport(refusals=(refusal,), metered={"2026-11-30": Metered(1, 2, 3, 4)})
        fake.records.append(record)
        assert await client.set_policy(policy) == policy.revision
        assert fake.policy == policy
        assert await client.report() == fake.report()
        assert await client.connections(ALICE, 6) == [record]
        assert await client.connections(ALICE, 7) == []


async def test_a_watcher_is_woken_by_each_change_and_raises_at_the_end(tmp_path: Path) -> None:
    client = EgressClient(tmp_path / "c")
    async with fake_egress(client.path) as fake:
        changes = client.watch()
        await anext(changes)
        fake.change()
        await anext(changes)
    with pytest.raises(TransientError, match="hive-egress"):
        await anext(changes)


async def test_a_missing_socket_is_an_error_that_a_retry_may_mend(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be reached: No such file") as raised:
        await EgressClient(tmp_path / "c").report()
    assert raised.value.hint


async def test_what_hive_egress_refuses_is_raised_with_its_words_on_one_line(tmp_path: Path) -> None:
    client = EgressClient(tmp_path / "c")
    async with fake_egress(client.path) as fake:
        fake.answers["report"] = encode_line({"ok": False, "error": "no\nway" + "x" * 999, "hint": "ask later"})
        with pytest.raises(PermanentError, match=r"^hive-egress refused: no way") as raised:
            await client.report()
    assert raised.value.hint == "ask later"
    assert len(raised.value.summary) < 400


@pytest.mark.parametrize("answer", [b"{}\n", b"[]\n", b"\xff\n", b'{"ok":true}\n', b'{"ok":true,"report":{"pid":1}}\n'])
async def test_an_answer_of_another_kind_is_an_error_with_a_remedy(tmp_path: Path, answer: bytes) -> None:
    client = EgressClient(tmp_path / "c")
    async with fake_egress(client.path) as fake:
        fake.answers["report"] = answer
        with pytest.raises(PermanentError) as raised:
            await client.report()
    assert "hive-egress" in raised.value.summary or isinstance(raised.value, BadInput)


async def test_an_answer_longer_than_the_limit_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LINE_LIMIT", 1000)
    client = EgressClient(tmp_path / "c")
    async with fake_egress(client.path) as fake:
        fake.answers["report"] = b"x" * 5000 + b"\n"
        with pytest.raises(BadInput, match="more than 1000 bytes"):
            await client.report()


async def test_an_answer_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    client = EgressClient(tmp_path / "c", seconds=0.02)
    async with fake_egress(client.path) as fake:
        fake.answers["report"] = b"half"
        with pytest.raises(TransientError, match="does not answer within"):
            await client.report()
