"""A hive that is a year old: it starts, answers each command that reads, is checked, backed up, restored and deploys.

What is asserted are numbers of rows, bytes and files. `python -m tests.bench.old` prints the times beside a young one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.operations.table import OPERATIONS
from reconciler.proposals.refusals import SHOWN
from reconciler.store.messages.rows import DONE_KEPT
from tests.conftest import FULL
from tests.support.lab import Lab, discard
from tests.support.old_hive import BUSY, TENTH, YEAR, cached

AGE = YEAR if FULL else TENTH
MOST_ANSWER = 4 * 2**20
"""Bytes of an answer, at most, whatever a hive has gathered."""
COMMANDS = (
    ("status",),
    ("pending", "--all"),
    ("pending", "--refused"),
    ("history", str(BUSY)),
    *((word,) for word in ("log", "inbox", "events", "plan", "questions", "loose-ends", "dead-letters", "attention")),
    ("list",),
    ("digest", "--since", "365d"),
)
LEFT_OUT = {"wait", "metrics", "healthz", "live", "network_connections", "network_suggest"} | {
    "pod_history",
    "pod_events",
}
"""Operations that wait, follow, answer with text, or need a hive-egress or a harness, which this hive has not."""


@pytest.fixture(scope="module")
def old() -> Iterator[Lab]:
    """A daemon on an old hive, once nothing is left to do."""
    directory = Path(f"/tmp/hive-{os.getpid()}-old")
    discard(directory)
    directory.mkdir(mode=0o755)
    lab = Lab(directory, {"HIVE_RESYNC": "600", "HIVE_HEALTH_DEADLINE": "60"}, backend="fake")
    try:
        cached(AGE, directory)
        lab.start()
        for name in ("manager", str(BUSY)):
            lab.settle(name)
        yield lab
    finally:
        lab.kill()
        discard(directory)


def paths(lab: Lab) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each GET of the table, with values for its fields."""
    newest = lab.get("/api/proposals", all=1, agent=str(BUSY), limit=1)[0]["id"]
    question = rows(lab, "SELECT max(id) FROM questions")
    for operation in OPERATIONS:
        for route in operation.routes:
            if route.method != "GET" or operation.name in LEFT_OUT:
                continue
            id = question if "questions" in route.path else newest
            query: dict[str, Any] = {"limit": 1000} if "limit" in operation.input.model_fields else {}
            query |= {"follow": 0} if route.path == "/api/events" else {}
            query |= {"since": 1} if operation.name == "digest" else {}
            yield route.path.replace("{agent}", str(BUSY)).replace("{id}", str(id)), query


def rows(lab: Lab, query: str) -> int:
    with sqlite3.connect(f"file:{lab.layout.database}?mode=ro", uri=True) as database:
        return int(database.execute(query).fetchone()[0])


def test_each_view_answers_within_its_bytes(old: Lab) -> None:
    sizes = {}
    for path, query in paths(old):
        sizes[path] = len(repr(old.get(path, **query)))
    assert len(sizes) > 15
    assert {path: size for path, size in sizes.items() if size > MOST_ANSWER} == {}


def test_the_pages_of_events_cover_each_event_once(old: Lab) -> None:
    first = rows(old, "SELECT min(n) FROM events")
    last = rows(old, "SELECT max(n) FROM events")
    after = f"{old.get('/api/events', follow=0, limit=1)[0]['seq'].rpartition('-')[0]}-{first - 1}"
    numbers: list[int] = []
    while page := old.get("/api/events", follow=0, limit=10_000 if FULL else 1000, after=after):
        numbers += [int(event["seq"].rpartition("-")[2]) for event in page]
        after = page[-1]["seq"]
    assert numbers[: last - first + 1] == list(range(first, last + 1))


def test_each_command_that_reads_answers(old: Lab) -> None:
    for words in COMMANDS:
        for said in (old.hive(*words), old.hive(*words, "--json")):
            assert said.code == 0, (words, said.err)
            assert len(said.out) < MOST_ANSWER, words


def test_refused_branches_are_known_without_a_fetch_and_do_not_fill_the_status(old: Lab) -> None:
    old.until(lambda: len(old.get("/api/refused")) == AGE.refused)  # a start looks at a few branches at a time
    alice = old.agent(str(BUSY))
    assert len([line for line in alice["conditions"] if "no proposal" in line]) == SHOWN + 1
    assert rows(old, "SELECT count(*) FROM events WHERE kind = 'tip_refused'") == AGE.refused


def test_what_is_kept_of_each_kind_is_bounded(old: Lab) -> None:
    per_inbox = "SELECT max(c) FROM (SELECT count(*) AS c FROM messages WHERE acked_at NOT NULL GROUP BY recipient)"
    assert rows(old, per_inbox) <= DONE_KEPT
    assert rows(old, "SELECT count(*) FROM deaths") == 0
    assert rows(old, "SELECT count(*) FROM cards") == AGE.ids + AGE.agents + AGE.gone


def test_it_is_sound_backed_up_and_restored(old: Lab) -> None:
    target = old.directory / "backup.tar"
    assert old.hive("backup", str(target)).code == 0
    audit = old.hive("audit", "verify")
    assert audit.code == 0, audit.out[-500:]
    restored = Lab(old.directory / "again", backend="fake")
    assert restored.hive("restore", str(target)).code == 0
    assert restored.hive("audit", "verify").out.splitlines()[-1] == audit.out.splitlines()[-1]


def test_it_deploys(old: Lab) -> None:
    card = old.deploy('label = "one more"\n', str(BUSY))
    assert (card["state"], card["id"]) == ("deployed", AGE.ids + 1)
