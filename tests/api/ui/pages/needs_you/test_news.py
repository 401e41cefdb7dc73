"""The stream of the list for notifications."""

from __future__ import annotations

import json
from dataclasses import replace

from api.operations.base import Nothing
from api.ui.live.shot import take_feed
from api.ui.live.stream import feed_stream
from api.ui.pages.needs_you.news import NEWS
from reconciler.attention.row import Severity
from tests.api.ui.conftest import Ui
from tests.support.fake_service import QUESTION_ROW


def _rows(event: str) -> list[dict[str, object]]:
    (line,) = [line for line in event.splitlines() if line.startswith("data: ")]
    found: list[dict[str, object]] = json.loads(line.removeprefix("data: "))["rows"]
    return found


async def test_the_list_is_sent_at_the_beginning_and_again_when_a_row_comes(ui: Ui) -> None:
    fake, asked = ui.hive.fake, Nothing()
    with ui.site.hub.watch(NEWS, asked, lambda moment: take_feed(NEWS, asked, moment)) as view:
        events = feed_stream(view, "", ui.hive.stopping, ui.hive.stopping)
        assert await anext(events) == ":\n\n"
        assert [row["key"] for row in _rows(await anext(events))] == ["question:1"]
        low = replace(QUESTION_ROW, key="messages:operator", severity=Severity.LOW)
        high = replace(QUESTION_ROW, key="deploy-failed:alice:7", severity=Severity.HIGH, detail="secret words")
        fake.attention_rows = [high, QUESTION_ROW, low]
        fake.changes.note()
        (first, _) = _rows(await anext(events))
        await events.aclose()
    assert first == {
        "key": "deploy-failed:alice:7",
        "title": "question 1",
        "urgent": True,
        "href": "/#row-deploy-failed:alice:7",
    }
