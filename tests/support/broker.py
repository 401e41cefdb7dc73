"""A broker for tests of the store."""

from __future__ import annotations

from reconciler.messaging.broker import Allowed, Broker, Quota, allow_all
from reconciler.store.database import Database

AGENTS = ("alice", "bob", "manager")
NOW = 1234.9
"""What its clock says."""


def broker_on(db: Database, inbox_limit: int = 1000, allowed: Allowed = allow_all) -> Broker:
    """Bodies up to 100 bytes; knows AGENTS."""
    return Broker(
        db,
        AGENTS.__contains__,
        quota=Quota(inbox_limit, body=100),
        clock=lambda: NOW,
        agents=lambda: AGENTS,
        allowed=allowed,
    )


async def bodies(broker: Broker, agent: str) -> list[str]:
    """Everything that waits, handed out."""
    found = []
    while (delivery := await broker.recv(agent, 0)) is not None:
        found.append(delivery.body)
    return found
