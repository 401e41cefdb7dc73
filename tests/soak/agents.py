"""The agents of a soak and what runs in them.

alice, bob, manager    honest: the runner speaks for them on their own sockets; their harness only keeps the link
dora                   honest, with the real harness: answers each numbered message, and is killed in mid-turn
erin                   gets the proposals
mallory                hostile: its program prints without end and dies; the runner does the rest on its sockets
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from meta.names import AgentName
from reconciler.backends.local.backend import harness_command
from reconciler.plan.observed import Launch
from tests.support.lab_daemon import tiny_command

TALKERS = ("alice", "bob", "manager")
ANSWERING, PROPOSED, HOSTILE = "dora", "erin", "mallory"
SPAWNED = ("alice", "bob", ANSWERING, PROPOSED, HOSTILE)
STEADY = (*TALKERS, PROPOSED)
"""Agents that nothing in a soak may make crash."""

ANSWERS = f"""
[[script]]
when = "soak (?P<sender>[a-z]+) {ANSWERING} (?P<number>[0-9]+)"
sleep = 0.02
reply = "answer {{sender}} {{number}}"
"""
"""Rules of the agent that answers."""

_HOSTILE = (Path(__file__).parent / "hostile_agent.py").read_text(encoding="utf-8")


def command(agent: AgentName, launch: Launch) -> Sequence[str]:
    """Return what runs in the container of an agent."""
    if agent == ANSWERING:
        return harness_command(agent, launch)
    return (sys.executable, "-I", "-S", "-c", _HOSTILE) if agent == HOSTILE else tiny_command(agent, launch)
