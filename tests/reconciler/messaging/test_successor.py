"""What becomes of the inbox of an agent that is destroyed, and of one that is spawned again under its name."""

from __future__ import annotations

import pytest

from meta.errors import BadInput
from reconciler.messaging.broker import Broker
from reconciler.store.database import Database
from tests.support.broker import bodies


async def test_mail_that_waited_for_a_destroyed_agent_waits_for_the_next_of_its_name(db: Database) -> None:
    names = ["alice", "bob"]
    broker = Broker(db, lambda name: name in names)
    await broker.send("alice", "bob", "waits")
    names.remove("bob")
    with pytest.raises(BadInput, match="no agent 'bob'"):
        await broker.send("alice", "bob", "is refused")
    assert await broker.unread("bob") == 1
    names.append("bob")
    assert await bodies(broker, "bob") == ["waits"]
    await broker.close()


async def test_an_agent_that_was_purged_leaves_nothing_to_the_next_of_its_name(db: Database) -> None:
    broker = Broker(db, lambda name: True)
    await broker.send("alice", "bob", "goes")
    await broker.forget("bob")
    assert await broker.unread("bob") == 0
    assert await bodies(broker, "bob") == []
    await broker.close()
