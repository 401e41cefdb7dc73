"""What an inbox holds is known without a count, whoever writes; no send or recv gets slower with what it holds."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.store.messages import attempts, lists, rows
from reconciler.store.messages.attempts import Ending
from reconciler.store.messages.quota import Quota
from reconciler.store.messages.rows import Lease, NewMessage
from reconciler.store.schema import prepare_writer

QUOTA = Quota()
NOW = 1_700_000_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "hive.db"
    made = sqlite3.connect(path, isolation_level=None)
    prepare_writer(path, made)
    yield made
    made.close()


def send(connection: sqlite3.Connection, sender: str, to: str, origin: str = "peer", size: int = 10) -> int:
    return rows.accept(connection, NewMessage(sender, to, (to,), "x" * size, NOW, origin), QUOTA, {}).id


def counted(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[int, int]]:
    """Count what the table of totals should have."""
    totals: dict[tuple[str, str], tuple[int, int]] = {}
    for recipient, sender, origin, size in connection.execute(
        "SELECT recipient, sender, origin, size FROM messages WHERE acked_at IS NULL"
    ):
        for who in ("", "wake:" if origin == "wake" else sender):
            count, total = totals.get((recipient, who), (0, 0))
            totals[recipient, who] = count + 1, total + size
    return totals


@pytest.mark.parametrize("seed", range(5))
def test_the_totals_are_those_of_the_messages_after_any_sequence_of_changes(
    connection: sqlite3.Connection, seed: int
) -> None:
    chance = random.Random(seed)
    agents = ("alice", "bob")
    for number in range(300):
        agent = chance.choice(agents)
        ending = Ending(agent, NOW, "launch", (), 0, 3, 5, lambda _: False)
        newest = connection.execute("SELECT max(id) FROM messages").fetchone()[0] or 0
        match chance.randrange(10):
            case 0:
                rows.acknowledge(connection, agent, NOW, QUOTA)
            case 1:
                rows.mark_read(connection, agent, chance.randint(0, newest), NOW, QUOTA)
            case 2:
                attempts.fail(connection, ending)
            case 3:
                lists.discard(connection, chance.randint(0, newest))
            case 4 if number % 50 == 0:
                rows.delete(connection, agent)
            case 5:
                rows.deliver(connection, Lease(agent, "launch"), NOW)
            case 6:
                send(connection, f"wake:{chance.randrange(3)}", agent, "wake", chance.randint(1, 2_000))
            case _:
                send(connection, chance.choice((*agents, "operator")), agent, size=chance.randint(1, 2_000))
        if number % 10 == 0:
            kept = connection.execute("SELECT recipient, sender, messages, size FROM inbox_totals").fetchall()
            assert {(row[0], row[1]): (row[2], row[3]) for row in kept} == counted(connection)


def steps(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """Return how many instructions of SQLite's virtual machine some work takes."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 1)
    return count


def test_a_send_and_a_recv_take_as_long_with_thousands_of_messages_as_with_few(
    connection: sqlite3.Connection,
) -> None:
    def work() -> tuple[int, int]:
        sends = steps(connection, lambda: send(connection, "bob", "alice"))
        lease = Lease("alice", "launch")
        return sends, steps(connection, lambda: rows.deliver(connection, lease, NOW))

    for _ in range(5):
        send(connection, "bob", "alice")
    few = work()
    connection.execute("BEGIN")
    for number in range(3_000):
        send(connection, f"sender{number % 50}", "alice")
    connection.execute("COMMIT")
    assert few[0] > 0
    many = work()
    assert many[0] < few[0] * 1.2
    assert many[1] < few[1] * 1.2
    rows.mark_read(connection, "alice", 2_000, NOW, QUOTA)
    done = work()
    assert (done[0] < few[0] * 1.2, done[1] < few[1] * 1.2) == (True, True)
