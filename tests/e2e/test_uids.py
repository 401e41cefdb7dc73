"""A range of uids that was used for files on disk stays with its name, whatever became of the agent."""

from __future__ import annotations

import os

import pytest

from meta.names import AgentName
from tests.support.lab import Lab

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand out uids"),
    pytest.mark.lab(fresh=True),
]
NICK, OLGA = AgentName("nick"), AgentName("olga")


def test_an_agent_never_gets_the_uids_of_one_whose_spawn_failed(lab: Lab) -> None:
    in_the_way = lab.layout.proposed_config(NICK)
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no directory", encoding="utf-8")
    lab.post("/api/agents/nick/spawn")
    lab.settle("nick")
    assert lab.card(0, "nick")["state"] == "failed"
    failed = lab.layout.agent_state(NICK).stat().st_uid

    lab.spawn("olga")
    assert lab.layout.agent_state(OLGA).stat().st_uid != failed
    in_the_way.unlink()
    lab.spawn("nick")
    assert lab.layout.agent_state(NICK).stat().st_uid == failed
