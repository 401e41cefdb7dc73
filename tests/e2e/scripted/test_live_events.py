"""The live events of an agent, from a real harness to the operator, over stops and restarts of either side."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.timeout(120)]


def rows(lab: Lab) -> list[dict[str, Any]]:
    return list(lab.get("/api/agents/bob/events", limit=1000))


def turns(lab: Lab) -> int:
    return sum(row["event"]["kind"] == "turn_end" for row in rows(lab))


def test_events_can_be_seen_while_the_agent_is_stopped_and_after_restarts_and_none_comes_twice(lab: Lab) -> None:
    lab.spawn("bob")
    lab.post("/api/messages", to="bob", body="first")
    lab.until(lambda: turns(lab) == 1)
    before = rows(lab)
    assert [row["event"]["body"] for row in before if row["event"]["kind"] == "turn_start"] == ["first"]

    lab.do("bob", "stop")
    lab.settle("bob")
    stopped = rows(lab)
    assert stopped[: len(before)] == before

    lab.kill()
    lab.start()
    assert rows(lab)[: len(before)] == before

    lab.do("bob", "start")
    lab.settle("bob")
    lab.post("/api/messages", to="bob", body="second")
    lab.until(lambda: turns(lab) == 2)
    ids = [row["id"] for row in rows(lab)]
    assert len(ids) == len(set(ids))
    assert {id.partition("-")[0] for id in ids} == {ids[0].partition("-")[0]}

    lab.do("bob", "destroy", purge=True)
    lab.until(lambda: "bob" not in lab.agents())
    assert b"second" not in lab.layout.live.read_bytes()
