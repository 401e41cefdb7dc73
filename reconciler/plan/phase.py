"""The phase of an agent: one word, derived and never stored. Pure."""

from __future__ import annotations

from meta.config import Config
from meta.model import RunEntry, RunState
from meta.wire.link import TurnState
from reconciler.plan import health, steps
from reconciler.plan.observed import AgentObserved, Transient

_TURN_PHASES = {TurnState.NEEDS_LOGIN, TurnState.PARKED, TurnState.OVER_BUDGET}


def phase(
    observed: AgentObserved,
    desired: RunEntry,
    step: steps.Step,
    verdict: health.Verdict,
    now: float,
    daemon_since: float,
    config: Config,
) -> str:
    """Return one of PHASES for an agent whose next step is `step`."""
    if observed.memo.rollback_failed:
        return "rollback-failed"
    if isinstance(step, steps.Stop):
        return {Transient.SWITCHING: "switching", Transient.DESTROYING: "destroying"}.get(step.transient, "draining")
    if not observed.container.running:
        return _down(observed, desired.state, step, config)
    link, launch = observed.link, observed.container.launch
    if desired.paused and link.connected and link.turn is not None and not link.turn.in_turn:
        return "paused"
    if link.connected and link.turn in _TURN_PHASES:
        return str(link.turn)
    if isinstance(verdict, health.Healthy):
        return "running"
    if launch is None or observed.memo.healthy_nonce != launch.nonce:
        return "starting"
    reconnects = not link.connected and now < daemon_since + config.reconnect_grace
    return "unknown" if reconnects else "running"


def _down(observed: AgentObserved, desired: RunState, step: steps.Step, config: Config) -> str:
    memo = observed.memo
    if desired is RunState.STOPPED:
        return "stopped"
    if isinstance(step, steps.CountCrash):
        return "crashed"
    if memo.own_crashes >= config.crash_limit:
        return "failed"
    if isinstance(step, steps.Wait):
        return "backing-off"
    return "switching" if memo.transient == Transient.SWITCHING else "starting"
