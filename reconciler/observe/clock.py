"""Wall times that stay correct when the clock is set. Durations are measured with the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from meta.names import AgentName
from reconciler.plan.observed import Container, LinkView

STEP = 1.0
"""Seconds. If the two clocks moved apart by more than this, the clock was set."""


class Moments:
    """The times at which things began, in Unix seconds of the clock as it is set now.

    Each is noted at its first observation. `wall` gives Unix seconds; `monotonic` runs at the same speed and is never
    set.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._noted: dict[tuple[str, str], tuple[float, float]] = {}

    def corrected(self, what: str, of: str, at: float) -> float:
        """Return `at`, the time when `what` of an agent began, corrected for every change of the clock since.

        0 means never. Another `at` is another moment. A time in the future was recorded by an earlier daemon before the
        clock was set back; it counts as now.
        """
        now = self._wall()
        ahead = now - self._monotonic()
        noted = self._noted.get((what, of))
        if noted is None or noted[0] != at:
            noted = self._noted[what, of] = (at, ahead + at - now if at > now + STEP else ahead)
        shift = ahead - noted[1]
        return at + shift if at and abs(shift) > STEP else at

    def link(self, agent: AgentName, view: LinkView) -> LinkView:
        """Return the link with corrected times."""
        since = self.corrected("link", agent, view.since)
        legacy = view.legacy_at if view.legacy_at is None else self.corrected("legacy", agent, view.legacy_at)
        turn = view.turn_since if view.turn_since is None else self.corrected("turn", agent, view.turn_since)
        state = view.state_since if view.state_since is None else self.corrected("state", agent, view.state_since)
        if (since, legacy, turn, state) == (view.since, view.legacy_at, view.turn_since, view.state_since):
            return view
        return replace(view, since=since, legacy_at=legacy, turn_since=turn, state_since=state)

    def container(self, agent: AgentName, container: Container) -> Container:
        """Return the container with a corrected time of its launch."""
        launch = container.launch
        at = self.corrected("launch", agent, launch.at) if launch is not None else 0.0
        if launch is None or at == launch.at:
            return container
        return replace(container, launch=replace(launch, at=at))

    def forget(self, agent: AgentName) -> None:
        """Drop the moments of a purged agent."""
        for what in ("link", "legacy", "launch", "turn", "state"):
            self._noted.pop((what, agent), None)
