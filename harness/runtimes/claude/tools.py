"""A turn for which the CLI has none of hive's tools. Its line `init` says so, and it goes on all the same. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.runtimes.base import Ending, Fault, TurnOutcome
from meta.names import HIVE

_READY = ("connected", "pending")


def lacks_tools(servers: Mapping[str, str]) -> bool:
    """Return True if the CLI says that it does not have hive's tools. `servers` has the state of each by its name."""
    return servers.get(HIVE, _READY[0]) not in _READY


def judge_tools(outcome: TurnOutcome, servers: Mapping[str, str], session: str | None, agent: str) -> TurnOutcome:
    """Return the outcome of a turn, which is parked if the CLI had none of hive's tools: it could tell nobody.

    `session` is the conversation before the turn, `agent` the name for the remedy.
    """
    if not lacks_tools(servers) or outcome.ending not in (Ending.OK, Ending.CRASHED):
        return outcome
    why = f"claude could not reach hive's tools ({servers[HIVE]}), so the turn was ended"
    remedy = f"hive tries again by itself; if that does not help, `hive restart {agent}`"
    return replace(outcome, ending=Ending.PARKED, reason=f"{why} ({remedy})", session=session, fault=Fault.TOOLS)
