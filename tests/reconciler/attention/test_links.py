"""The page of a row: the agent's for its states, else the row on the first page."""

from __future__ import annotations

from meta.names import AgentName
from reconciler.attention.facts import Alarm, Alarms, Facts
from reconciler.attention.links import link
from reconciler.attention.message import Notification
from reconciler.attention.registry import FirstSeen, collect

ORIGIN = "https://hive.example"
ALICE = AgentName("alice")


def test_the_state_of_an_agent_is_on_its_page_and_all_else_a_row_of_the_first_page() -> None:
    assert link(ORIGIN, "agent-failed", "agent-failed:alice", ALICE) == "https://hive.example/agents/alice"
    assert link(ORIGIN, "proposal", "proposal:7", ALICE) == "https://hive.example/#row-proposal:7"
    assert link(ORIGIN, "passkey-copied", "passkey-copied:x", None) == "https://hive.example/settings"
    assert link(ORIGIN, "agent-x", "agent-x:y", None) == "https://hive.example/#row-agent-x:y"


def test_a_key_cannot_lead_elsewhere() -> None:
    assert link(ORIGIN, "meta-lock", 'meta-lock:"> <a/#?', None) == f"{ORIGIN}/#row-meta-lock:%22%3E%20%3Ca%2F%23%3F"


def test_without_a_dashboard_there_is_no_page() -> None:
    assert link("", "proposal", "proposal:7", ALICE) is None


def test_a_notification_carries_the_page_of_its_row() -> None:
    facts = Facts(alarms=Alarms(meta=(Alarm("meta", "x"),)), origin=ORIGIN)
    row = collect(facts, FirstSeen(), 1.0)[0]
    assert row.link == f"{ORIGIN}/#row-meta-unreadable:meta"
    assert f'"click": "{row.link}"'.encode() in Notification("bee", (row,)).for_ntfy("hive")
