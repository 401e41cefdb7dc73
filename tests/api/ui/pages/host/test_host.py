"""The page Host: bars with their limits, findings with remedies, and the button that runs the checks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.ui.pages.host.rows import AGENTS_MOST, Meter, findings_of, space_of
from meta.names import AgentName
from reconciler.upkeep.doctor.checks.base import Verdict
from reconciler.upkeep.doctor.examine import Row
from reconciler.upkeep.doctor.live import Examined
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}<hx-partial hx-target='#nav'>\u202eevil"


@pytest.mark.parametrize(("used", "kind"), [(84, ""), (85, "warn"), (94, "warn"), (95, "bad"), (100, "bad")])
def test_a_bar_warns_at_85_percent_and_alarms_at_95(used: int, kind: str) -> None:
    assert Meter(used, 100).kind == kind


def test_what_failed_stands_before_what_is_only_to_look_at() -> None:
    rows = [
        Row("git", Verdict.OK, "fine"),
        Row("disk", Verdict.WARN, "full soon", "see `hive doctor`"),
        Row("fsck", Verdict.FAIL, "broken", "restore it"),
    ]
    findings = findings_of(rows)
    assert [each.check for each in findings.open] == ["fsck", "disk"]
    assert [each.check for each in findings.passed] == ["git"]
    assert [(piece.text, piece.how) for piece in findings.open[1].remedy] == [("see ", ""), ("hive doctor", "code")]


def test_what_is_to_look_at_of_agents_is_one_row() -> None:
    agents = [Row("agents", verdict, f"{verdict} of one", "see") for verdict in (Verdict.WARN, Verdict.FAIL)]
    (found,) = findings_of(agents).open
    assert (found.word, [piece.text for piece in found.text]) == ("failed", ["2 things about agents"])
    assert [piece.text for piece in findings_of(agents[:1]).open[0].text] == ["warn of one"]


async def test_the_agents_with_the_most_files_are_shown_and_the_others_summed_up(ui: Ui) -> None:
    (row, *_) = (await ui.hive.fake.status()).agents
    agents = [replace(row, agent=AgentName(f"a{n}"), disk_bytes=n * 1000) for n in range(AGENTS_MOST + 2)]
    space = space_of([*agents, replace(row, disk_bytes=None)])
    assert (space.rows[0].agent, space.rows[0].used) == (f"a{AGENTS_MOST + 1}", (AGENTS_MOST + 1) * 1000)
    assert (len(space.rows), space.rest, space.rest_bytes, space.unknown) == (AGENTS_MOST, 2, 1000, 1)


async def test_memory_that_moves_a_little_is_no_news(ui: Ui) -> None:
    first = (await ui.get("/live/host?once=1")).headers["x-seen"]
    machine = ui.hive.fake.machine
    ui.hive.fake.machine = replace(machine, memory_free=machine.memory_free - 10_000_000)
    ui.hive.fake.changes.note()
    assert (await ui.get(f"/live/host?once=1&seen={first}")).text == ""
    ui.hive.fake.machine = replace(machine, memory_free=machine.memory_free // 2)
    ui.hive.fake.changes.note()
    partials = Page((await ui.get(f"/live/host?once=1&seen={first}")).text).all("hx-partial")
    assert [each.attributes["hx-target"] for each in partials] == ["#machine"]


async def test_the_page_shows_what_is_wrong_and_what_to_do(ui: Ui) -> None:
    text = " ".join(Page((await ui.get("/host")).text).root.text.split())
    assert "88 % of 500.0 GB in use, 60.0 GB free" in text and "Nearly full." in text
    assert "only 1.2 GB are free" in text and "remove what is not needed" in text
    assert "discovery fails since 2 min" in text and "works on 1 agent, 1 more to look at" in text


async def test_checks_that_passed_are_not_counted_as_something_to_look_at(ui: Ui) -> None:
    rows = (Row("git", Verdict.OK, "fine"), Row("gc", Verdict.OK, "fine"), Row("disk", Verdict.WARN, "full soon"))
    ui.hive.fake.examined = Examined(rows, 1.0)
    assert "1 to look at, 2 passed" in " ".join(Page((await ui.get("/host")).text).root.text.split())


async def test_before_the_first_run_the_page_says_how_to_get_findings(ui: Ui) -> None:
    ui.hive.fake.examined = Examined()
    assert "Not examined yet" in (await ui.get("/host")).text


async def test_the_button_starts_the_checks_and_does_not_wait_for_them(ui: Ui) -> None:
    answer = await ui.post("/host/examine")
    assert "The checks run now" in answer.text
    assert ui.hive.fake.calls == [("examine", 0.0)]


async def test_texts_of_others_in_findings_and_troubles_are_no_markup(ui: Ui) -> None:
    ui.hive.fake.examined = Examined((Row("tags", Verdict.FAIL, HOSTILE, HOSTILE),), 1.0)
    ui.hive.fake.machine = replace(ui.hive.fake.machine, way_out=(HOSTILE,), name=HOSTILE)
    text = (await ui.get("/host")).text
    assert "&lt;script&gt;" in text and "<img" not in text and "<script>alert" not in text and "\u202e" not in text
