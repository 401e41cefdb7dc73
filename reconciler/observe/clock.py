"""Wall times that stay true when the clock is set: how long something lasts is told by a clock that nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from meta.names import AgentName
from reconciler.plan.observed import Container, LinkView

STEP = 1.0
"""Seconds; a smaller difference between the two clocks is no clock that was set."""


class Moments:
    """When things began, in Unix seconds of the clock as it is set now. A moment is noted when it is first seen.

    `wall` gives Unix seconds; `steady` goes on at the same speed and is never set.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._noted: dict[tuple[str, str], tuple[float, float]] = {}

    def told(self, what: str, of: str, at: float) -> float:
        """`at`, which is when `what` of an agent began; 0 is never. Another `at` is another moment.

        One that lies ahead was written down before the clock was set back, by a daemon before this one: it is now.
        """
        now = self._wall()
        ahead = now - self._steady()
        noted = self._noted.get((what, of))
        if noted is None or noted[0] != at:
            noted = self._noted[what, of] = (at, ahead + at - now if at > now + STEP else ahead)
        shift = ahead - noted[1]
        return at + shift if at and abs(shift) > STEP else at

    def link(self, agent: AgentName, view: LinkView) -> LinkView:
        """A link with its times as they are now."""
        since = self.told("link", agent, view.since)
        legacy = view.legacy_at if view.legacy_at is None else self.told("legacy", agent, view.legacy_at)
        return view if (since, legacy) == (view.since, view.legacy_at) else replace(view, since=since, legacy_at=legacy)

    def container(self, agent: AgentName, container: Container) -> Container:
        """A container with the time of its launch as it is now."""
        launch = container.launch
        at = self.told("launch", agent, launch.at) if launch is not None else 0.0
        if launch is None or at == launch.at:
            return container
        return replace(container, launch=replace(launch, at=at))

    def forget(self, agent: AgentName) -> None:
        """The agent is gone."""
        for what in ("link", "legacy", "launch"):
            self._noted.pop((what, agent), None)
