"""Any sequence of events, failures of the file and restarts: what follows an id is exactly the tail."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from harness.events.encoding import encode_bounded
from harness.events.store import EventStore
from meta.wire.live import Note


class Log(RuleBasedStateMachine):
    """The log beside a list of what was emitted."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "state" / "events.sqlite"
        self.store = EventStore(self.path)
        self.model: list[tuple[int, str]] = []
        self.away = False

    @rule(text=st.text(max_size=20), count=st.integers(1, 5))
    def emit(self, text: str, count: int) -> None:
        for _ in range(count):
            row = self.store.append(1, "note", encode_bounded(Note(text=text)))
            self.model.append((row.id, text))

    @rule()
    def restart(self) -> None:
        """Only with its file: what was never written is gone with the process."""
        if not self.away:
            self.store.close()
            self.store = EventStore(self.path)

    @rule()
    def fail_once(self) -> None:
        """Make the next use of the file fail as a full disk does, and the one after it succeed."""
        with self.store._file:
            if self.store._database is not None:
                self.store._database._connection.execute("PRAGMA max_page_count = 1")

    @rule()
    def lose_connection(self) -> None:
        with self.store._file:
            self.store._shut()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.model) - 1))
        self.check(self.model[index][0], self.model[index + 1 :])

    @invariant()
    def all_of_it_is_there(self) -> None:
        self.check(0, self.model)

    def check(self, after: int, expected: list[tuple[int, str]]) -> None:
        got, page = [], True
        while page:
            rows = self.store.read(after, 7)
            got += [(row.id, json.loads(row.text)["text"]) for row in rows]
            after, page = rows[-1].id if rows else after, len(rows) == 7
        assert got == [(id, text) for id, text in expected]

    @override
    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)


def test_what_follows_an_id_is_exactly_the_tail() -> None:
    run_state_machine_as_test(
        Log,
        settings=settings(
            max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
