"""The rules for an agent without a deploy in flight: make it equal to meta's HEAD. Pure."""

from __future__ import annotations

from meta.model import AgentEntry, Generation, RunState
from reconciler.plan import health, steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import Exit, Transient
from reconciler.plan.turn import end_stuck_turn


def repair(c: Context) -> Decision | None:
    """Return the next step towards HEAD's generation, or None if everything is as desired."""
    entry = c.entry
    if entry is None:
        return None
    if c.run.state is RunState.STOPPED and c.observed.container.running:
        return c.drain_and_stop(Transient.STOPPING, "should be stopped", None)
    if c.observed.memo.rollback_failed:
        return c.nothing("neither the new nor the old generation passes the health gate; propose or restart")
    settings, pin = entry.settings, entry.pin
    if c.observed.memo.rebuilt < c.run.rebuilds:
        reapply = steps.Reapply(pin.id, pin.sha, settings, c.head, c.run.rebuilds)
        return c.do(reapply, "a rebuild was asked for")
    generation = c.built(pin.id, pin.sha, settings)
    if generation is None:
        build = steps.Build(pin.id, pin.sha, settings, c.observed.sources.get(pin.id, c.head))
        return c.do(build, f"the generation of {pin.id} is missing")
    prepare = c.prepare_host(settings, None)
    if prepare is not None:
        return prepare
    if c.observed.container.running:
        return _running(c, entry, generation)
    return _down(c, entry, generation)


def _running(c: Context, entry: AgentEntry, generation: Generation) -> Decision | None:
    stale = _stale(c, generation)
    if stale is not None:
        transient, reason = stale
        return c.drain_and_stop(transient, reason, None)
    container = c.observed.container
    if container.system != generation.id or container.fingerprint != generation.fingerprint:
        return c.do(steps.Switch(generation, entry.settings), "what it would start next was changed by hand")
    return _judge(c)


def _stale(c: Context, generation: Generation) -> tuple[str, str] | None:
    """Return the transient and the reason to stop the running launch, if that is not the desired one."""
    launch = c.observed.container.launch
    if launch is None:
        return Transient.RESTARTING, "it runs without a record of its start"
    if launch.generation != generation.id or launch.fingerprint != generation.fingerprint:
        return Transient.SWITCHING, f"it runs generation {launch.generation}, meta pins {generation.id}"
    if launch.rebuilds < c.run.rebuilds:
        return Transient.RESTARTING, "rebuilt since it was started"
    if launch.restarts < c.run.restarts:
        return Transient.RESTARTING, "a restart was asked for"
    return None


def _judge(c: Context) -> Decision | None:
    memo, launch = c.observed.memo, c.observed.container.launch
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
    """Return the step for a launch that has passed its gate. hive acts on it only if its harness stays silent."""
    memo, unproven, launch = c.observed.memo, c.unproven(), c.observed.container.launch
    if unproven is not None and launch is not None:
        return c.do(steps.MarkHealthy(launch.nonce, unproven), f"the generation of {unproven} passed the health gate")
    silent = health.silent_since(c.observed.container, c.observed.link, daemon_since=c.daemon_since, config=c.config)
    if silent is not None and c.now >= silent:
        return _unhealthy(c, "its harness has been silent for too long")
    if silent is not None:
        return c.do(steps.Wait(silent), "its harness is not connected", conditions=("link lost",))
    if stuck := end_stuck_turn(c):
        return stuck
    if memo.crashes and c.now >= memo.last_crash + c.config.crash_reset:
        return c.do(steps.ForgetCrashes(), "healthy for long enough")
    if memo.excused and c.observed.link.acked:
        return c.do(steps.ForgetCrashes(), "a turn ended well after the message that made it crash was put aside")
    return None


def _unhealthy(c: Context, reason: str) -> Decision:
    if c.observed.memo.rollback_from is not None:
        return c.do(steps.GiveUpRollback(reason), f"after the rollback from {c.observed.memo.rollback_from}: {reason}")
    launch = c.observed.container.launch
    nonce = launch.nonce if launch else ""
    if c.observed.memo.counted_exit != nonce:
        return _crashed(c, Exit(nonce, c.now), reason)
    return c.do(steps.Stop(Transient.RESTARTING, nonce), reason)


def _down(c: Context, entry: AgentEntry, generation: Generation) -> Decision | None:
    container, wanted = c.observed.container, c.run.state is RunState.RUNNING
    crash = _uncounted_crash(c, generation) if wanted else None
    if crash is not None:
        return crash
    if container.system != generation.id or container.fingerprint != generation.fingerprint:
        return c.do(steps.Switch(generation, entry.settings), "the container is not set to what meta pins")
    return _start(c, generation) if wanted else None


def _start(c: Context, generation: Generation) -> Decision:
    memo = c.observed.memo
    if memo.own_crashes >= _crash_limit(c):
        return _given_up(c)
    left = memo.start_after - c.now
    if 0 < left <= c.config.crash_backoff_max:  # if it is more, the clock was set back
        return c.do(steps.Wait(memo.start_after), f"crashed {memo.crashes} times, starts again in {left:.0f} s")
    unproven = c.unproven()
    reason = "should be running" if unproven is None else f"should be running; its first start since {unproven}"
    return c.do(steps.Start(generation, unproven, c.run.restarts, c.run.rebuilds), reason)


def _uncounted_crash(c: Context, generation: Generation) -> Decision | None:
    """Return the step for an unexpected exit that hive has not counted yet."""
    ended, launch, memo = c.observed.container.exit, c.observed.container.launch, c.observed.memo
    if ended is None or launch is None or ended.nonce != launch.nonce:
        return None
    if ended.nonce in (memo.expected_exit, memo.counted_exit):
        return None
    if ended.lost and launch.at < c.daemon_since:  # most likely the host was restarted: not the agent's fault
        return None
    reason = ended.describe()
    if memo.rollback_from is not None and launch.generation == generation.id:
        return c.do(steps.GiveUpRollback(reason), f"after the rollback from {memo.rollback_from}: {reason}")
    if launch.deploy is not None and launch.generation != generation.id:  # that of a deploy that has failed since
        return None
    return _crashed(c, ended, reason)


def _crash_limit(c: Context) -> int:
    """Return how many crashes in a row end the attempts.

    The first start of an unproven deploy is its health gate, so there one crash does.
    """
    return c.config.crash_limit if c.unproven() is None else 1


def _crashed(c: Context, ended: Exit, reason: str) -> Decision:
    unproven, last = c.unproven(), c.observed.memo.own_crashes + 1 >= _crash_limit(c)
    if unproven is not None:
        reason = f"its first start after deploy {unproven} failed: {reason}"
    return c.do(steps.CountCrash(ended, reason, last), reason)


def _given_up(c: Context) -> Decision:
    unproven = c.unproven()
    if unproven is None:
        memo = c.observed.memo
        more = f", {memo.excused} of them at a message that was put aside" if memo.excused else ""
        return c.nothing(f"ended by itself {memo.crashes} times in a row{more}; `hive restart {c.name}` tries again")
    failure = f"its first start after deploy {unproven} failed"
    proven = c.last_proven()
    remedies = [f"`hive rollback {c.name} {proven}` goes back"] if proven is not None else []
    remedy = ", ".join([*remedies, f"`hive restart {c.name}` tries again"])
    return c.nothing(f"{failure}; {remedy}", phase="failed", conditions=(failure, remedy))
