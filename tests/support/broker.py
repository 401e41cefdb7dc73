"""A broker for tests of the store."""

from __future__ import annotations

from reconciler.messaging.broker import Allowed, Broker, Quota, allow_all
from reconciler.store.database import Database
from reconciler.store.messages.attempts import FAILURES, AttemptLimit

AGENTS = ("alice", "bob", "manager")
NOW = 1234.9
"""The time of the broker's clock."""


def broker_on(
    db: Database, inbox_limit: int = 1000, allowed: Allowed = allow_all, *, failures: int = FAILURES, since: int = 0
) -> Broker:
    """Return a broker that knows AGENTS and takes bodies of at most 100 bytes."""
    return Broker(
        db,
        AGENTS.__contains__,
        quota=Quota(inbox_limit, body=100),
        clock=lambda: NOW,
        agents=lambda: AGENTS,
        allowed=allowed,
        attempts=AttemptLimit(failures, since),
    )


async def bodies(broker: Broker, agent: str) -> list[str]:
    """Deliver every waiting message, and return the bodies."""
    found = []
    while (delivery := await broker.recv(agent, 0)) is not None:
        found.append(delivery.body)
    return found
