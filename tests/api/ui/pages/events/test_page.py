"""The page Events over a service: sentences, filters, pages, the export, the verification, and hostile words."""

from __future__ import annotations

import html
import json
import re

import pytest

from api.ui.pages.events.kinds import BAD, KINDS, WARN
from meta.names import AgentName
from reconciler.events.feed import EVENT_KINDS
from reconciler.upkeep.audit.rules import FAULT, Finding
from reconciler.upkeep.audit.verify import Heads, Report
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page, faults_of

ALICE = AgentName("alice")
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)><hx-partial hx-target="#nav">{{7*7}}\u202egnp'


async def shown(ui: Ui, path: str = "/events") -> str:
    answer = await ui.get(path)
    assert answer.status_code == 200, answer.text
    assert faults_of(Page(answer.text)) == []
    return html.unescape(answer.text)


async def denied(ui: Ui, *ids: int) -> None:
    for id in ids:
        await ui.hive.fake.events.append("proposal_denied", ALICE, {"id": id, "by": "operator", "note": "no"})


async def test_an_event_is_a_sentence_the_newest_first(ui: Ui) -> None:
    await denied(ui, 3)
    await ui.hive.fake.events.append("container_crash", ALICE, {"why": "exit status 1", "crashes": 1})
    text = await shown(ui)
    assert text.index("ended by itself: exit status 1") < text.index("3 is denied by operator: no")


async def test_pages_go_on_without_a_gap_or_a_double(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    await denied(ui, *range(1, 6))
    monkeypatch.setattr("api.ui.pages.events.view.PAGE_ROWS", 2)
    path, seen = "/events", []
    while True:
        text = await shown(ui, path)
        seen += re.findall(r"(\d+) is denied", text)
        older = re.search(r'href="(/events\?before=[^"]*)">Older', text)
        if older is None:
            break
        path = older[1]
    assert seen == ["5", "4", "3", "2", "1"]


async def test_a_filter_leaves_out_the_others(ui: Ui) -> None:
    await denied(ui, 3)
    await ui.hive.fake.events.append("daemon_started", None, {"revision": "r"})
    for query in ("agent=alice", "kind=decisions", "kind=proposal_denied"):
        text = await shown(ui, f"/events?{query}")
        assert ("3 is denied" in text, "the daemon started, revision r" in text) == (True, False), query
    assert "No event fits" in await shown(ui, "/events?kind=network")
    assert (await ui.get("/events?kind=nonsense")).status_code == 400


async def test_a_place_that_is_gone_says_so(ui: Ui) -> None:
    assert "not kept any more" in await shown(ui, "/events?before=another-3")


async def test_the_export_has_every_event_of_the_filter_oldest_first(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    await denied(ui, *range(1, 6))
    await ui.hive.fake.events.append("daemon_started", None, {})
    monkeypatch.setattr("api.ui.pages.events.export.MAX_EVENTS", 2)
    answer = await ui.get("/events/export.json?kind=deploys")
    assert "attachment" in answer.headers["content-disposition"]
    assert [event["data"]["id"] for event in json.loads(answer.text)] == [1, 2, 3, 4, 5]
    assert json.loads((await ui.get("/events/export.json?kind=network")).text) == []


async def test_the_record_is_verified_when_somebody_asks_and_says_what_was_found(ui: Ui) -> None:
    assert "Not verified yet" in await shown(ui)
    fault = Finding(FAULT, "chain", "alice", 7, f"event 7 was changed {HOSTILE}")
    ui.hive.fake.audit_report = Report((fault,), (), Heads("u", 9, "h", "m", {}), 9)
    answer = await ui.post("/events/verify")
    assert "1 fault" in answer.text
    text = await shown(ui)
    assert "The record has 1 fault" in text
    assert "event 7 was changed" in text


async def test_no_text_of_an_event_is_markup(ui: Ui) -> None:
    await ui.hive.fake.events.append("deploy_failed", ALICE, {"id": 1, "note": HOSTILE, HOSTILE: HOSTILE})
    page = Page((await ui.get("/events")).text)
    assert not list(page.all("img", "hx-partial"))
    assert not [each for each in page.all("script") if "src" not in each.attributes]
    assert "\u202e" not in page.root.text


def test_each_kind_of_a_filter_exists() -> None:
    assert set().union(BAD, WARN, *KINDS.values()) <= set(EVENT_KINDS)
