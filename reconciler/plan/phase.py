"""The one phase of an agent, derived and never stored. Pure."""

from __future__ import annotations

from meta.config import Config
from meta.model import RunState
from meta.wire.link import TurnState
from reconciler.plan import health, steps
from reconciler.plan.observed import AgentObserved, Transient

_TURN_PHASES = {TurnState.NEEDS_LOGIN, TurnState.PARKED, TurnState.OVER_BUDGET}


def phase(
    seen: AgentObserved,
    desired: RunState,
    step: steps.Step,
    verdict: health.Verdict,
    now: float,
    daemon_since: float,
    config: Config,
) -> str:
    """One of PHASES for an agent whose next step is `step`."""
    memo, container = seen.memo, seen.container
    if memo.rollback_failed:
        return "rollback-failed"
    if isinstance(step, steps.Stop):
        return {Transient.SWITCHING: "switching", Transient.DESTROYING: "destroying"}.get(step.transient, "draining")
    if not container.running:
        return _down(seen, desired, step, config)
    if seen.link.connected and seen.link.turn in _TURN_PHASES:
        return str(seen.link.turn)
    launch = container.launch
    if isinstance(verdict, health.Healthy) or (
        launch is not None and memo.healthy_nonce == launch.nonce and seen.link.connected
    ):
        return "running"
    proven = launch is not None and memo.healthy_nonce == launch.nonce
    if proven and not seen.link.connected and now < daemon_since + config.reconnect_grace:
        return "unknown"
    return "running" if proven else "starting"


def _down(seen: AgentObserved, desired: RunState, step: steps.Step, config: Config) -> str:
    memo = seen.memo
    if desired is RunState.STOPPED:
        return "stopped"
    if isinstance(step, steps.CountCrash):
        return "crashed"
    if memo.crashes >= config.crash_limit:
        return "failed"
    if isinstance(step, steps.Wait):
        return "backing-off"
    return "switching" if memo.transient == Transient.SWITCHING else "starting"
