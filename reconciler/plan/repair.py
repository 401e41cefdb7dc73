"""The rules for an agent with nothing in flight: make it what meta's HEAD says, within patience. Pure."""

from __future__ import annotations

from meta.model import AgentEntry, Generation, RunState
from reconciler.plan import health, steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import Exit, Transient


def repair(c: Context) -> Decision | None:
    """The next step towards HEAD's generation, or None when everything is as desired."""
    entry = c.entry
    if entry is None:
        return None
    if c.run.state is RunState.STOPPED and c.seen.container.running:
        return c.drain_and_stop(Transient.STOPPING, "should be stopped", None)
    if c.seen.memo.rollback_failed:
        return c.nothing("neither the new nor the old generation passes the health gate; propose or restart")
    settings, pin = entry.settings, entry.pin
    if c.seen.memo.rebuilt < c.run.rebuilds:
        step = steps.Reapply(pin.id, pin.sha, settings, c.head, c.run.rebuilds)
        return c.do(step, "a rebuild was asked for")
    generation = c.built(pin.id, pin.sha, settings)
    if generation is None:
        step_build = steps.Build(pin.id, pin.sha, settings, c.head)
        return c.do(step_build, f"the generation of {pin.id} is missing")
    furnished = c.furnish(settings, None)
    if furnished is not None:
        return furnished
    if c.seen.container.running:
        return _running(c, entry, generation)
    return _down(c, entry, generation)


def _running(c: Context, entry: AgentEntry, generation: Generation) -> Decision | None:
    stale = _stale(c, generation)
    if stale is not None:
        transient, why = stale
        return c.drain_and_stop(transient, why, None)
    container = c.seen.container
    if container.system != generation.id or container.fingerprint != generation.fingerprint:
        return c.do(steps.Switch(generation, entry.settings), "what it would start next was changed by hand")
    return _judge(c)


def _stale(c: Context, generation: Generation) -> tuple[str, str] | None:
    """Why the running launch is not the one desired, as (transient, reason)."""
    launch = c.seen.container.launch
    if launch is None:
        return Transient.RESTARTING, "it runs without a record of its start"
    if launch.generation != generation.id or launch.fingerprint != generation.fingerprint:
        return Transient.SWITCHING, f"it runs generation {launch.generation}, meta says {generation.id}"
    if launch.rebuilds < c.run.rebuilds:
        return Transient.RESTARTING, "rebuilt since it was started"
    if launch.restarts < c.run.restarts:
        return Transient.RESTARTING, "a restart was asked for"
    return None


def _judge(c: Context) -> Decision | None:
    memo, launch = c.seen.memo, c.seen.container.launch
    if launch is not None and memo.healthy_nonce == launch.nonce:
        return _healthy_before(c)
    match c.judge():
        case health.Healthy():
            return c.do(steps.MarkHealthy(launch.nonce if launch else "", c.unproven()), "passed the health gate")
        case health.Pending(until, reason):
            return c.do(steps.Wait(until), reason)
        case health.Unhealthy(reason):
            return _unhealthy(c, reason)


def _healthy_before(c: Context) -> Decision | None:
    """It passed its gate once: only a harness that stays silent is a reason to act."""
    memo, owed, launch = c.seen.memo, c.unproven(), c.seen.container.launch
    if owed is not None and launch is not None:
        return c.do(steps.MarkHealthy(launch.nonce, owed), f"what {owed} was built into passed the health gate")
    silent = health.silent_since(c.seen.container, c.seen.link, daemon_since=c.daemon_since, config=c.config)
    if silent is not None and c.now >= silent:
        return _unhealthy(c, "its harness has been silent for too long")
    if silent is not None:
        return c.do(steps.Wait(silent), "its harness is not connected", conditions=("link lost",))
    if memo.crashes and c.now >= memo.last_crash + c.config.crash_reset:
        return c.do(steps.ForgetCrashes(), "healthy for long enough")
    return None


def _unhealthy(c: Context, reason: str) -> Decision:
    if c.seen.memo.rollback_from is not None:
        return c.do(steps.GiveUpRollback(reason), f"after the rollback from {c.seen.memo.rollback_from}: {reason}")
    launch = c.seen.container.launch
    nonce = launch.nonce if launch else ""
    if c.seen.memo.counted_exit != nonce:
        return _crashed(c, Exit(nonce, c.now), reason)
    return c.do(steps.Stop(Transient.RESTARTING, nonce), reason)


def _down(c: Context, entry: AgentEntry, generation: Generation) -> Decision | None:
    memo, container = c.seen.memo, c.seen.container
    wanted = c.run.state is RunState.RUNNING
    ended, launch = container.exit, container.launch
    unexpected = (
        ended is not None
        and launch is not None
        and ended.nonce == launch.nonce
        and ended.nonce not in (memo.expected_exit, memo.counted_exit)
        and not (ended.lost and launch.at < c.daemon_since)  # most likely the host was restarted: nobody's fault
    )
    if wanted and unexpected and ended is not None:
        why = ended.describe()
        if memo.rollback_from is not None and launch is not None and launch.generation == generation.id:
            return c.do(steps.GiveUpRollback(why), f"after the rollback from {memo.rollback_from}: {why}")
        if not (launch is not None and launch.deploy is not None and launch.generation != generation.id):
            return _crashed(c, ended, why)
    if container.system != generation.id or container.fingerprint != generation.fingerprint:
        return c.do(steps.Switch(generation, entry.settings), "the container is not set to what meta says")
    if not wanted:
        return None
    if memo.crashes >= _patience(c):
        return _given_up(c)
    left = memo.start_after - c.now
    if 0 < left <= c.config.crash_backoff_max:  # more is no back-off: the clock was set back
        return c.do(steps.Wait(memo.start_after), f"crashed {memo.crashes} times, starts again in {left:.0f} s")
    owed = c.unproven()
    why = "should be running" if owed is None else f"should be running; its first start since {owed}"
    return c.do(steps.Start(generation, owed, c.run.restarts, c.run.rebuilds), why)


def _patience(c: Context) -> int:
    """How many crashes in a row there may be: the first start of what was never started is its health gate."""
    return c.config.crash_limit if c.unproven() is None else 1


def _crashed(c: Context, ended: Exit, why: str) -> Decision:
    owed, last = c.unproven(), c.seen.memo.crashes + 1 >= _patience(c)
    told = why if owed is None else f"its first start after deploy {owed} failed: {why}"
    return c.do(steps.CountCrash(ended, told, last), told)


def _given_up(c: Context) -> Decision:
    owed, times = c.unproven(), c.seen.memo.crashes
    if owed is None:
        return c.nothing(f"crashed {times} times in a row; `hive restart {c.name}` tries again")
    told = f"its first start after deploy {owed} failed"
    back = c.last_proven()
    ways = [f"`hive rollback {c.name} {back}` goes back"] if back is not None else []
    remedy = ", ".join([*ways, f"`hive restart {c.name}` tries again"])
    return c.nothing(f"{told}; {remedy}", phase="failed", conditions=(told, remedy))
