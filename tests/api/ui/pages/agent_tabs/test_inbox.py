"""What waits for an agent: its messages, its reminders, and what is open of it."""

from __future__ import annotations

from meta.names import AgentName
from meta.wire.common import InSeconds
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page

ALICE = AgentName("alice")
PATH = "/agents/alice/inbox"
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}<hx-partial>\u202e'


async def test_only_the_messages_to_the_agent_are_shown_in_flight_and_unread_apart(ui: Ui) -> None:
    broker = ui.hive.fake.broker
    await broker.send("manager", "alice", "the first one", None)
    await broker.recv(ALICE, 0)
    await broker.send("manager", "alice", "the second one", None)
    await broker.send("alice", "manager", "from alice", None)
    text = (await ui.get(PATH)).text
    taken, unread = text.partition("In its turn")[2].split(">Unread</h2>", 1)
    assert "the first one" in taken and "the second one" not in taken
    assert "the second one" in unread and "from alice" not in text


async def test_a_reminder_is_set_shown_and_cancelled(ui: Ui) -> None:
    answer = await ui.post("/agents/alice/reminders", {"message": "look again", "number": "2", "unit": "3600"})
    assert "alice gets it in 2 hours." in answer.text
    (reminder,) = await ui.hive.fake.reminders.of("alice")
    assert (reminder.message, reminder.due_at - reminder.made_at) == ("look again", 7200)
    assert "look again" in (await ui.get(PATH)).text
    await ui.post(f"/agents/alice/reminders/{reminder.id}/cancel")
    assert await ui.hive.fake.reminders.of("alice") == []


async def test_a_reminder_of_a_wrong_number_is_refused_and_nothing_is_set(ui: Ui) -> None:
    answer = await ui.post("/agents/alice/reminders", {"message": "look again", "number": "soon"})
    assert answer.status_code == 400 and "number" in answer.text
    assert await ui.hive.fake.reminders.of("alice") == []


async def test_messages_reminders_and_questions_are_text(ui: Ui) -> None:
    await ui.hive.fake.broker.send("manager", "alice", HOSTILE, None)
    await ui.hive.fake.reminders.put("alice", HOSTILE, InSeconds(seconds=60), None)
    await ui.hive.fake.questions.ask("manager", HOSTILE, (), False, None, "alice")
    page = Page((await ui.get(PATH)).text)
    assert not [*page.all("img", "hx-partial")] and page.faults == []
    assert not [each for each in page.all("script") if "alert" in each.text]
