"""The list of all inboxes: filters, pages, and the bound of a search."""

from __future__ import annotations

import pytest

from meta.errors import NotFound
from reconciler.messaging.broker import Broker, MessageFilter
from reconciler.store.database import Database
from reconciler.store.messages import search
from tests.support.broker import NOW


async def ids(broker: Broker, wanted: MessageFilter, limit: int = 50) -> list[int]:
    return [row.id for row in (await broker.page(wanted, limit)).rows]


async def test_a_page_lists_all_inboxes_newest_first_and_goes_on_where_it_ended(broker: Broker) -> None:
    sent = [await broker.send("alice", to, f"to {to}") for to in ("bob", "manager", "operator", "bob")]
    first = await broker.page(MessageFilter(), 3)
    assert [(row.id, row.sender, row.recipient, row.body) for row in first.rows[:1]] == [
        (sent[3], "alice", "bob", "to bob")
    ]
    rest = await broker.page(MessageFilter(before=first.next), 3)
    assert [row.id for row in (*first.rows, *rest.rows)] == sent[::-1]
    assert rest.next is None
    assert await broker.unread("bob") == 2


async def test_a_conversation_is_of_two_names_and_no_other(broker: Broker) -> None:
    to_bob = await broker.send("alice", "bob", "a")
    back = await broker.send("bob", "alice", "b")
    away = await broker.send("bob", "manager", "c")
    assert await ids(broker, MessageFilter(agent="bob")) == [away, back, to_bob]
    assert await ids(broker, MessageFilter(agent="alice", peer="bob")) == [back, to_bob]


async def test_a_state_is_what_became_of_a_message_and_since_when(broker: Broker) -> None:
    done = await broker.send("alice", "bob", "a")
    await broker.recv("bob", 0)
    await broker.ack_turn("bob")
    taken = await broker.send("alice", "bob", "b")
    await broker.recv("bob", 0)
    waits = await broker.send("alice", "bob", "c")
    rows = (await broker.page(MessageFilter(), 9)).rows
    assert [(row.id, row.state, row.state_at) for row in rows] == [
        (waits, "waiting", None),
        (taken, "in-flight", int(NOW)),
        (done, "done", int(NOW)),
    ]
    assert await ids(broker, MessageFilter(state="in-flight")) == [taken]


async def test_words_are_found_as_they_are_written_and_not_as_a_pattern(broker: Broker) -> None:
    found = await broker.send("alice", "bob", "100 % DONE_by me")
    await broker.send("alice", "bob", "100 done by me")
    assert await ids(broker, MessageFilter(words="% done_")) == [found]


async def test_a_search_reads_a_bounded_part_and_says_where_to_go_on(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await broker.send("alice", "bob", "needle")
    for _ in range(4):
        await broker.send("alice", "bob", "hay")
    monkeypatch.setattr(search, "SEARCHED_ROWS", 2)
    pages, before = [], None
    while True:
        page = await broker.page(MessageFilter(words="needle", before=before), 9)
        pages.append([row.id for row in page.rows])
        if (before := page.next) is None:
            break
    assert pages == [[], [], [wanted]]


async def test_a_window_of_ids_without_a_match_is_not_the_end(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = await broker.send("bob", "alice", "old")
    for _ in range(3):
        await broker.send("alice", "manager", "new")
    monkeypatch.setattr(search, "WINDOW", 3)
    first = await broker.page(MessageFilter(agent="bob"), 9)
    assert (first.rows, first.next is None) == ((), False)
    assert await ids(broker, MessageFilter(agent="bob", before=first.next)) == [wanted]


async def test_a_long_body_is_cut_in_the_list_and_whole_by_its_id(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await broker.send("alice", "bob", "a€€")
    monkeypatch.setattr(search, "TEXT_BYTES", 3)
    (row,) = (await broker.page(MessageFilter(), 1)).rows
    assert (row.body, row.size, row.cut) == ("a…", 7, True)
    whole = await broker.get(id)
    assert (whole.body, whole.cut) == ("a€€", False)
    with pytest.raises(NotFound, match="no message 99"):
        await broker.get(99)


async def test_a_damaged_row_hides_no_other(db: Database, broker: Broker) -> None:
    id = await broker.send("alice", "bob", "x")
    good = await broker.send("alice", "bob", "y")
    await db.write(
        lambda connection: connection.execute("UPDATE messages SET body = CAST(x'ff' AS TEXT) WHERE id = ?", (id,))
    )
    rows = (await broker.page(MessageFilter(), 9)).rows
    assert [row.id for row in rows] == [good, id]
    assert "damaged" in rows[1].body
