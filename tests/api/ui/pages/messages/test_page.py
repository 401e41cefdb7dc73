"""The page Messages over a service: what it lists, what its forms do, and that no word of an agent is markup."""

from __future__ import annotations

import html
import re

import pytest

from api.ui.pages.messages import rows
from api.ui.pages.messages.rows import letters
from meta.names import AgentName
from reconciler.messaging.broker import MessageRow
from tests.api.ui.conftest import Ui
from tests.support.html_page import Page, faults_of

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)><hx-partial hx-target="#nav">{{7*7}}\u202egnp'


@pytest.fixture
def bob(ui: Ui) -> Ui:
    """A hive with alice, bob and the manager."""
    ui.hive.fake.names.append(AgentName("bob"))
    return ui


async def shown(ui: Ui, path: str = "/messages") -> str:
    answer = await ui.get(path)
    assert answer.status_code == 200, answer.text
    assert faults_of(Page(answer.text)) == []
    return answer.text


async def test_the_list_has_the_messages_of_all_inboxes_and_takes_none(bob: Ui) -> None:
    broker = bob.hive.fake.broker
    await broker.send("alice", "bob", "may I?\nplease")
    await broker.send("bob", "alice", "yes")
    text = html.unescape(await shown(bob))
    assert "may I? …" in text
    assert text.index("yes") < text.index("may I?")
    assert await broker.unread("bob") == 1


async def test_filters_and_pages_are_links_that_keep_what_was_asked(bob: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = bob.hive.fake.broker
    for number in range(3):
        await broker.send("alice", "bob", f"word {number}")
    await broker.send("alice", "manager", "word of the manager")
    monkeypatch.setattr("api.ui.pages.messages.view.PAGE_ROWS", 2)
    text = await shown(bob, "/messages?agent=bob&peer=alice&q=WORD")
    assert ("word 2" in text, "word 0" in text, "of the manager" in text) == (True, False, False)
    older = re.search(r'href="([^"]*before=[^"]*)"', text)
    assert older is not None
    assert "word 0" in await shown(bob, html.unescape(older[1]))
    assert "No message fits" in await shown(bob, "/messages?q=nothing")


async def test_what_is_to_the_operator_stands_first_until_it_is_marked_as_read(ui: Ui) -> None:
    broker = ui.hive.fake.broker
    ids = [await broker.send("alice", "operator", f"m{number}") for number in range(2)]
    page = Page(await shown(ui))
    forms = [form for form in page.all("form") if form.attributes.get("action") == "/messages/read"]
    fields = [each.attributes["value"] for each in forms[0].all("input") if each.attributes["name"] == "ids"]
    assert fields == [str(ids[1]), str(ids[0])]
    await ui.post("/messages/read", {"ids": fields[0]})
    assert [row.id for row in await broker.recent("operator", 9, only_unread=True)] == [ids[0]]
    assert "1 unread to you" in await shown(ui)


async def test_a_message_is_sent_as_the_operator_and_a_wrong_name_loses_nothing(bob: Ui) -> None:
    assert (await bob.post("/messages/send", {"to": "nobody", "body": "hi"})).status_code == 404
    answer = await bob.client.post("/messages/send", data={"to": "nobody", "body": "my long text"})
    assert "my long text" in answer.text
    await bob.post("/messages/send", {"to": "bob", "body": "hi"})
    (message,) = await bob.hive.fake.broker.recent("bob", 9)
    assert (message.sender, message.body) == ("operator", "hi")


async def test_a_dead_letter_says_why_and_is_delivered_again_or_discarded_in_a_dialog(bob: Ui) -> None:
    broker = bob.hive.fake.broker
    for body in ("poison", "venom"):
        await broker.send("alice", "bob", body)
    for _ in range(5):
        while await broker.recv("bob", 0):
            pass
        await broker.requeue_inflight("bob")
    text = await shown(bob)
    assert "handed out 5 times and never acknowledged" in text
    letters_ = await broker.dead_letters()
    discards = [form for form in Page(text).all("form") if form.attributes.get("action", "").endswith("/discard")]
    assert [form.inside("dialog") for form in discards] == [True, True]
    await bob.post(f"/messages/{letters_[0].id}/revive")
    await bob.post(f"/messages/{letters_[1].id}/discard")
    assert (await broker.dead_letters(), await broker.unread("bob")) == ([], 1)


async def test_a_long_message_is_whole_when_it_is_opened(ui: Ui) -> None:
    id = await ui.hive.fake.broker.send("alice", "manager", "x" * 3_000 + " end")
    text = await shown(ui)
    assert " end" not in text
    assert (await ui.get(f"/messages/{id}/text")).text.strip() == "x" * 3_000 + " end"


async def test_an_empty_hive_says_what_comes_here(ui: Ui) -> None:
    assert "No messages yet" in await shown(ui)


async def test_no_text_of_an_agent_is_markup(ui: Ui) -> None:
    broker = ui.hive.fake.broker
    id = await broker.send("alice", "operator", HOSTILE * 9)
    await broker.send("alice", "manager", HOSTILE)
    for path in (
        "/messages",
        f"/messages?agent={HOSTILE}&peer={HOSTILE}&q={HOSTILE}&to={HOSTILE}",
        f"/messages/{id}/text",
    ):
        text = (await ui.get(path.replace("#", "%23"))).text
        page = Page(text)
        assert not list(page.all("img", "hx-partial")), path
        assert not [each for each in page.all("script") if "src" not in each.attributes], path
        assert "\u202e" not in page.root.text, path
        assert "49" not in re.sub(r"\d{3,}", "", page.root.text), path


def row(id: int, **changes: object) -> MessageRow:
    values = {
        "id": id, "sender": "alice", "recipient": f"a{id}", "body": "[broadcast] hi", "size": 2, "cut": False, "at": 5,
        "origin": "peer", "broadcast": True, "attempts": 0, "state": "waiting", "state_at": None,
    }  # fmt: skip
    return MessageRow(**{**values, **changes})  # type: ignore[arg-type]


def test_neighbouring_copies_of_a_broadcast_are_one_row() -> None:
    shown = letters([row(4), row(3), row(2, state="dead"), row(1, broadcast=False, body="hi")])
    assert [(each.id, each.recipient, each.copies, each.text) for each in shown] == [
        (4, "all", 2, "hi"),
        (2, "a2", 1, "hi"),
        (1, "a1", 1, "hi"),
    ]


@pytest.mark.parametrize(
    ("sender", "to"), [("alice", "alice"), ("system", None), ("wake:ci", None), ("operator", None)]
)
def test_an_answer_goes_only_to_who_reads_it(sender: str, to: str | None) -> None:
    assert rows.answers_to(sender) == to
