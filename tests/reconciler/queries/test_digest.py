"""A digest: counts and the newest details of each agent, bounded, from events alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.names import AgentName
from reconciler.events.feed import Events
from reconciler.queries import digest as module
from reconciler.queries.digest import COUNTED, DigestQuery, digest
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.store.events.kinds import EVENT_KINDS
from reconciler.views import Digest, Event
from tests.support.fake_service import NOW


def event(at: float, kind: str, agent: str | None = "alice", **data: Any) -> Event:
    return Event(f"u-{int(at)}", at, kind, agent, data)


def made(*events: Event, since: float = 0.0, details: int = 2) -> Digest:
    return digest(events, since, 100.0, details)


def test_it_counts_by_agent_and_shows_the_newest_details() -> None:
    found = made(
        event(1, "deploy_succeeded", id=1),
        event(2, "container_crash"),
        event(3, "container_crash", "bob"),
        event(4, "deploy_failed", id=2),
        event(5, "deploy_succeeded", id=3),
        event(6, "daemon_started", None),
        event(7, "agent_started"),
    )
    assert [row.agent for row in found.agents] == ["alice", "bob", None]
    alice = found.agents[0]
    assert list(alice.counts.items()) == [("deploys", 2), ("failed deploys", 1), ("crashes", 1)]
    assert [detail.at for detail in alice.newest] == [5, 4]
    assert (alice.more, found.events, found.complete, found.left_out) == (2, 6, True, 0)


def test_a_rollback_by_the_operator_counts_as_one() -> None:
    found = made(Event("u-1", 1, "deploy_succeeded", "alice", {"kind": "rollback"}), event(2, "rollback_started"))
    assert found.agents[0].counts == {"rollbacks": 2}


def test_it_names_who_approved() -> None:
    who = ("operator ada", "operator ada", None)
    found = made(*(event(at, "proposal_approved", approved_by=by) for at, by in enumerate(who)))
    assert found.approved_by == {"operator ada": 2, "unknown": 1}


def test_what_is_older_is_left_out_and_what_was_pruned_is_said() -> None:
    found = made(event(1, "container_crash"), event(9, "container_crash"), since=5)
    assert found.events == 1
    assert digest((), 5.0, 9.0, 1, oldest=6.0).complete is False
    assert digest((), 5.0, 9.0, 1, oldest=4.0).complete is True


def test_it_is_bounded_in_agents_details_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGENTS_MOST", 3)
    busy = [event(at, "container_crash", "z", note="x" * 9_000) for at in range(50)]
    found = made(*busy, *(event(60, "container_crash", f"a{number}") for number in range(5)))
    assert [row.agent for row in found.agents] == ["a0", "a1", "z"]
    assert found.left_out == 3
    assert (len(found.agents[2].newest), found.agents[2].more) == (2, 48)
    assert len(found.agents[2].newest[0].data["note"]) == module.TEXT_MOST
    assert made(*busy, details=0).agents[0].newest == []


def test_every_kind_that_is_counted_exists() -> None:
    assert set(COUNTED) <= set(EVENT_KINDS)


EVENTS = st.lists(
    st.builds(
        event,
        st.floats(0, 99),
        st.sampled_from(sorted(EVENT_KINDS)),
        st.sampled_from([None, "alice", "bob"]),
        approved_by=st.text(max_size=3),
    )
)


@given(EVENTS, st.floats(0, 99), st.integers(0, 5))
def test_the_counts_add_up(events: list[Event], since: float, details: int) -> None:
    found = digest(events, since, 100.0, details)
    wanted = [each for each in events if each.kind in COUNTED and each.at >= since]
    assert found.events == len(wanted) == sum(sum(row.counts.values()) for row in found.agents)
    for row in found.agents:
        assert len(row.newest) + row.more == sum(row.counts.values())
        assert len(row.newest) <= details


async def test_it_reads_page_by_page_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.events.feed._PAGE", 2)
    database = await Database.open(tmp_path / "db")
    events = Events(database, clock=NOW)
    try:
        for number in range(3):
            await events.append("container_crash", AgentName("alice"), {"n": number})
        found = await DigestQuery(events, NOW)(0.0, None, 5)
        assert found.agents[0].counts == {"crashes": 3}
        assert (await DigestQuery(events, NOW)(NOW() + 1, None, 5)).events == 0
        assert (await DigestQuery(events, NOW)(0.0, "bob", 5)).events == 0
        await database.write(lambda connection: log.prune(connection, 1))
        assert (await DigestQuery(events, NOW)(0.0, None, 5)).complete is False
    finally:
        await events.close()
        await database.close()
