"""A turn's statistics as an agent claims them, made safe to keep: bounded numbers, short texts on one line. Pure.

A shell tool of the agent can write what it wants to the agent's event log. So nothing here is refused, because a turn
that is not counted would be one that is free of charge; what is absurd is moved to the nearest bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from meta.agent_toml.runtimes import RUNTIMES
from meta.names import AgentName
from meta.text import one_line
from meta.wire.live import Usage
from reconciler.store.usage import OTHER, Turn

SECONDS_MOST = 1e7
TOKENS_MOST = 10**12
"""Tokens of one turn, at most."""
DOLLARS_MOST = 1e6
NAME_MOST = 100
"""Characters of a model's name, at most."""
SHORT_MOST = 64
"""Characters of a tool's name and of a source, at most."""
TOOLS_MOST = 16
"""Tools of one turn, at most. The calls of others are counted as OTHER."""
CALLS_MOST = 10**6
COUNT_MOST = 10**6
"""Unknown lines and unreadable rows of one turn, at most."""

ENDINGS = frozenset({"ok", "refused", "crashed", "parked", "needs-login", "overflow", "cancelled"})
"""The endings of a turn that hive knows (harness.runtimes.base.Ending)."""
WAITED = frozenset({"parked", "needs-login"})
"""The endings of a turn that a budget does not count: it was put back, and no model answered."""


_LEAST: Mapping[str, Any] = {"runtime": "", "seconds": 0.0, "ending": ""}
"""What a usage must have."""


def read_usage(value: Mapping[str, Any]) -> Usage:
    """Return the usage in a live event. A member that is malformed counts as not reported."""
    claim = {**_LEAST, **value, "kind": "usage"}
    try:
        return Usage.model_validate(claim)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors(include_url=False, include_input=False, include_context=False)}
        return Usage.model_validate({**_LEAST, **{name: part for name, part in claim.items() if name not in wrong}})


def turn_of(agent: AgentName, log: str, id: int, ts: float, usage: Usage) -> Turn:
    """Return the statistics of a turn that an agent claims, safe to keep."""
    return Turn(
        agent=agent,
        log=one_line(log, SHORT_MOST),
        id=int(_bounded(id, 2**53)),
        at=_bounded(ts, 1e11),
        runtime=usage.runtime if usage.runtime in RUNTIMES else OTHER,
        model=one_line(usage.model, NAME_MOST),
        source=one_line(usage.source, SHORT_MOST),
        seconds=_bounded(usage.seconds, SECONDS_MOST),
        ending=usage.ending if usage.ending in ENDINGS else OTHER,
        counts=usage.ending not in WAITED,
        input_tokens=_tokens(usage.input_tokens),
        output_tokens=_tokens(usage.output_tokens),
        cached_tokens=_tokens(usage.cached_tokens),
        cost=None if usage.cost_dollars is None else _bounded(usage.cost_dollars, DOLLARS_MOST),
        tools=_tools(usage.tools),
        unknown_lines=int(_bounded(usage.unknown_lines, COUNT_MOST)),
        unreadable_rows=int(_bounded(usage.unreadable_rows, COUNT_MOST)),
    )


def _bounded(value: float, most: float) -> float:
    """Return `value` within 0 to `most`; 0 if it is no number. An int may be too large for a float."""
    return 0.0 if isinstance(value, float) and math.isnan(value) else float(min(max(value, 0), most))


def _tokens(value: int | None) -> int | None:
    return None if value is None else min(max(value, 0), TOKENS_MOST)


def _tools(tools: Mapping[str, int]) -> dict[str, int]:
    kept: dict[str, int] = {}
    for name, count in tools.items():
        word = one_line(name, SHORT_MOST)
        word = word if word in kept or len(kept) < TOOLS_MOST else OTHER
        kept[word] = min(kept.get(word, 0) + min(max(count, 0), CALLS_MOST), CALLS_MOST)
    return kept
