"""The health gate: a launch is healthy, not yet healthy, or unhealthy. Pure.

The gate tests the harness, not the model: `needs-login`, `parked`, `over-budget` and `paused` are healthy. It reads the
link: a hello with the generation and nonce of the launch, an answered probe, and a connection that lasts. A peer that
never sends a hello is healthy at its first `recv` or `status`. Times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from meta.config import Config
from reconciler.plan.observed import Container, Launch, LinkView

FLAPS = 3
"""Losses of a link. A launch whose link breaks this often within its gate is flapping."""
SET_BACK = 1.0
"""Seconds. The clock was set back if a link began later than this after now.

The age of the link is unknown then. hive does not wait for the clock to catch up: that would delay the deploy.
"""


@dataclass(frozen=True, slots=True)
class Healthy:
    """The launch passed the gate."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The launch has not passed yet; judge again at `until`."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The launch will not pass the gate."""

    reason: str


Verdict = Healthy | Pending | Unhealthy


def judge(container: Container, link: LinkView, *, now: float, daemon_since: float, config: Config) -> Verdict:
    """Judge the container's present launch. After a restart of the daemon the whole gate runs again."""
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
    return _judge_link(link, deadline, now, config)


def _judge_link(link: LinkView, deadline: float, now: float, config: Config) -> Verdict:
    if link.connected and link.nonce is not None and link.answered:
        stable_at = link.since + config.health_stable
        if now >= stable_at or link.since > now + SET_BACK:
            return Healthy()
        return Pending(stable_at, "harness connected, waits for a stable link")
    if now >= deadline:
        return Unhealthy(f"{_missing(link)} within {config.health_deadline:g} s")
    return Pending(deadline, f"health, {deadline - now:.0f} s left: {_missing(link)}")


def _fault(link: LinkView, launch: Launch) -> str | None:
    if link.losses >= FLAPS:
        return f"its link broke {link.losses} times: flapping"
    if link.connected and link.generation is not None and link.generation != launch.generation:
        return f"its hello reports generation {link.generation}, launched was {launch.generation}"
    if link.connected and link.nonce is not None and link.nonce != launch.nonce:
        return "its hello has the boot nonce of another start"
    return None


def _missing(link: LinkView) -> str:
    if not link.connected:
        return "no harness connected"
    if link.nonce is None:
        return "the harness connected but never sent a hello"
    return "the harness sent a hello but never answered a probe"


def silent_since(container: Container, link: LinkView, *, daemon_since: float, config: Config) -> float | None:
    """Return the time from which a healthy agent without a link counts as silent; None if its link is not missing.

    A link that is missing within the grace after a daemon restart is unknown and does not count.
    """
    legacy = link.nonce is None and link.legacy_at is not None
    if link.connected or legacy or not container.running:
        return None
    return max(link.since, daemon_since + config.reconnect_grace) + config.health_deadline
