"""The health gate, pure: is a launch healthy, not yet, or not at all?

Health tests the harness, not the model: `needs-login`, `parked` and `over-budget` are healthy. What counts is the
link: a hello of the generation and nonce that hive launched, an answered probe, and a connection that holds. A peer
that never says hello is healthy at its first `recv` or `status`. Times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from meta.config import Config
from reconciler.plan.observed import Container, Launch, LinkView

FLAPS = 3
"""So many broken links within one gate are flapping."""
SET_BACK = 1.0
"""Seconds; a link that begins later than that after now means that the clock was set back. How long it holds cannot be
told then, but waiting for the clock to catch up would hold up the deploy by as much."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """The gate is passed."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Look again at `until`."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The gate is not passed, and will not be."""

    reason: str


Verdict = Healthy | Pending | Unhealthy


def judge(container: Container, link: LinkView, *, now: float, daemon_since: float, config: Config) -> Verdict:
    """The verdict on the container's present launch. After a daemon restart the whole gate runs again."""
    launch = container.launch
    if launch is None:
        return Unhealthy("it was never started by hive")
    if not container.running:
        ended = container.exit.describe() if container.exit and container.exit.nonce == launch.nonce else "not running"
        return Unhealthy(f"{ended} before it was healthy")
    fault = _fault(link, launch)
    if fault:
        return Unhealthy(fault)
    if link.nonce is None and link.legacy_at is not None and link.legacy_at >= launch.at:
        return Healthy()
    deadline = max(min(launch.at, now), daemon_since) + config.health_deadline
    if link.connected and link.nonce is not None and link.answered:
        stable_at = link.since + config.health_stable
        if now >= stable_at or link.since > now + SET_BACK:
            return Healthy()
        return Pending(stable_at, "harness connected, waiting that it holds")
    if now >= deadline:
        return Unhealthy(f"{_missing(link)} within {config.health_deadline:g} s")
    return Pending(deadline, f"health, {deadline - now:.0f} s left: {_missing(link)}")


def _fault(link: LinkView, launch: Launch) -> str | None:
    if link.losses >= FLAPS:
        return f"its link broke {link.losses} times: flapping"
    if link.connected and link.generation is not None and link.generation != launch.generation:
        return f"it said hello as generation {link.generation}, launched was {launch.generation}"
    if link.connected and link.nonce is not None and link.nonce != launch.nonce:
        return "it said hello with the boot nonce of another start"
    return None


def _missing(link: LinkView) -> str:
    if not link.connected:
        return "no harness connected"
    if link.nonce is None:
        return "the harness connected but never said hello"
    return "the harness said hello but never answered a probe"


def silent_since(container: Container, link: LinkView, *, daemon_since: float, config: Config) -> float | None:
    """When an agent that was healthy lost its link for good (its deadline passed), or None while it may come back.

    Within the grace after a daemon restart a missing link is unknown, and unknown never counts.
    """
    legacy = link.nonce is None and link.legacy_at is not None
    if link.connected or legacy or not container.running:
        return None
    return max(link.since, daemon_since + config.reconnect_grace) + config.health_deadline
