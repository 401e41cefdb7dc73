"""What the turns of an agent took: by day, by model, and each."""

from __future__ import annotations

import json

from api.ui.pages.agent_tabs.usage import DAY, days_of, plots_of
from meta.wire.live import Usage
from reconciler.views import TurnUsage
from tests.api.ui.conftest import Ui
from tests.support.fake_service import ALICE, NOW
from tests.support.html_page import Page

PATH = "/agents/alice/usage"
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}\u202e'


def turn(at: float, tokens: int | None = 10, cost: float | None = 0.5) -> TurnUsage:
    """A turn of a minute."""
    return TurnUsage(at, "claude", "haiku", "manager", 60.0, "ok", tokens, tokens, None, cost, {})


def test_each_day_has_its_turns_and_a_day_without_one_is_there() -> None:
    now = 100 * DAY + 5.0
    days = days_of([turn(now), turn(now - 1), turn(now - 2 * DAY, None, None), turn(now - 9 * DAY)], now, 3)
    assert [(day.at // DAY, day.turns, day.tokens, day.cost) for day in days] == [
        (98, 1, 0, 0.0),
        (99, 0, 0, 0.0),
        (100, 2, 40, 1.0),
    ]
    assert days[-1].words == "11 Apr 1970"


def test_a_chart_has_the_numbers_of_the_table() -> None:
    days = days_of([turn(5.0)], 5.0, 2)
    tokens, cost, seconds = (json.loads(plot.data) for plot in plots_of(days))
    assert (tokens["values"], cost["values"], seconds["values"]) == ([0.0, 20.0], [0, 0.5], [0, 60.0])
    assert tokens["at"] == [-DAY, 0] and tokens["unit"] == "tokens"


async def test_the_page_has_charts_their_script_and_the_turns(ui: Ui) -> None:
    await record(ui, "haiku")
    text = (await ui.get(PATH)).text
    assert "charts.js" in text and text.count("data-plot=") == 3
    assert "haiku" in text and "The newest turns of alice" in text


async def test_without_a_turn_it_says_so(ui: Ui) -> None:
    text = (await ui.get(PATH)).text
    assert "No turn yet" in text and "data-plot=" not in text


async def test_what_an_agent_claims_is_text(ui: Ui) -> None:
    await record(ui, HOSTILE)
    page = Page((await ui.get(PATH)).text)
    assert not [*page.all("img")] and page.faults == []
    assert not [each for each in page.all("script") if "alert" in each.text]


async def record(ui: Ui, words: str) -> None:
    """Record a turn whose words are these."""
    usage = Usage(runtime="claude", model=words, seconds=75.0, ending=words, source=words, tools={words: 2})
    await ui.hive.fake.turn_records.record(ALICE, "log1", 1, NOW(), usage)
