"""The way out of an agent: what it may reach, asks for and was refused, and what went where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.ui.pages.agent_tabs.network import beside_rules, sums_of
from meta.errors import TransientError
from meta.names import AgentName
from meta.network.report import ConnectionRecord
from meta.network.verdict import Verdict
from reconciler.network.reach import RuleRow
from reconciler.network.views import Connections, NetworkView, RefusedHost
from tests.api.ui.conftest import Ui
from tests.support import fake_network
from tests.support.fake_network import FakeNetwork
from tests.support.html_page import Page

ALICE = AgentName("alice")
PATH = "/agents/alice/network"
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}\u202e'


def record(number: int, at: float, host: str, **fields: object) -> ConnectionRecord:
    """A connection that was allowed."""
    return replace(ConnectionRecord(number, at, "tunnel", host, 443, Verdict.ALLOWED), **fields)  # type: ignore[arg-type]


def test_connections_are_added_up_by_host_and_the_last_one_used_is_first() -> None:
    records = [
        record(1, 10.0, "a.example", sent=5, received=7, seconds=1.0),
        record(2, 30.0, "b.example", sent=1),
        record(0, 20.0, "a.example", sent=2),
        record(3, 12.0, "a.example", verdict=Verdict.NOT_LISTED),
    ]
    first, last = sums_of(records)
    assert (first.host, first.connections, last.host) == ("b.example", 1, "a.example")
    assert (last.connections, last.open, last.refused, last.sent, last.received, last.last) == (3, 1, 1, 7, 7, 20.0)


async def test_only_what_was_allowed_for_a_time_can_be_taken_back(ui: Ui) -> None:
    page = Page((await ui.get(PATH)).text)
    forms = [each for each in page.all("form") if each.attributes["action"] == f"{PATH}/revoke"]
    assert [each.attributes["value"] for form in forms for each in form.all("input")][1:] == ["a.example"]
    await ui.post(f"{PATH}/revoke", {"rule": "a.example"})
    assert ui.hive.fake.calls[-1] == ("revoke", ALICE, "a.example", "operator uid 1000")


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        ({"rule": "b.example", "seconds": "28800"}, ("allow", ALICE, "b.example", 28_800, "operator uid 1000")),
        (
            {"rule": "b.example", "seconds": "3600", "propose": "1"},
            ("propose", ALICE, "b.example", "operator uid 1000"),
        ),
    ],
)
async def test_a_host_is_allowed_for_a_time_or_proposed_for_good(
    ui: Ui, fields: dict[str, str], call: tuple[object, ...]
) -> None:
    answer = await ui.post(f"{PATH}/allow", fields)
    assert answer.status_code == 200, answer.text
    assert ui.hive.fake.calls[-1] == call


async def test_a_request_is_refused_with_a_reason(ui: Ui) -> None:
    await ui.post(f"{PATH}/refuse", {"request": "3", "reason": "not now"})
    assert ui.hive.fake.calls[-1] == ("deny", ALICE, 3, "operator uid 1000", "not now")


async def test_without_the_program_that_counts_the_rest_is_there(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connections(*_asked: object) -> Connections:
        raise TransientError("hive-egress does not answer")

    monkeypatch.setattr(FakeNetwork, "connections", connections)
    text = (await ui.get(PATH)).text
    assert "It cannot be read now: hive-egress does not answer" in text and "*.example.org" in text


async def test_hosts_and_reasons_are_text(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    view = NetworkView(
        ALICE,
        (RuleRow(HOSTILE, "grant", 4_000_000_000, HOSTILE, HOSTILE),),
        refused=(RefusedHost(HOSTILE, 1, HOSTILE, 1, 5.0, 6.0), RefusedHost(HOSTILE, 2, "", 1, 5.0, 6.0, HOSTILE)),
        requests=(replace(fake_network.REQUEST, host=HOSTILE, why=HOSTILE),),
        keys=(HOSTILE,),
        problems=(HOSTILE,),
        held=HOSTILE,
    )
    monkeypatch.setattr(fake_network, "VIEW", view)
    monkeypatch.setattr(fake_network, "RECORDS", (record(1, 5.0, HOSTILE),))
    page = Page((await ui.get(PATH)).text)
    assert not [*page.all("img")] and not [each for each in page.all("script") if "alert" in each.text]
    assert page.faults == []


async def test_hosts_that_only_a_key_leads_to_are_among_those_that_may_be_reached(
    ui: Ui, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = sums_of([record(1, 1.0, "models.example"), record(2, 2.0, "b.example", verdict=Verdict.NOT_LISTED)])
    assert [each.host for each in beside_rules(hosts, ())] == ["models.example"]
    assert beside_rules(hosts, (RuleRow("models.example", "agent.toml"),)) == []
    monkeypatch.setattr(fake_network, "VIEW", replace(fake_network.VIEW, reach=()))
    page = (await ui.get(PATH)).text
    assert "It may reach nothing" not in page and page.count("a key of hive") == 2
    monkeypatch.setattr(fake_network, "VIEW", replace(fake_network.VIEW, reach=(), keys=()))
    ui.hive.fake.changes.note()
    assert "It may reach nothing" in (await ui.get(PATH)).text
