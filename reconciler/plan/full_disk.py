"""The rules for an agent that holds too much of the disk, and for a stop that could not be recorded. Pure."""

from __future__ import annotations

from meta.model import RunState
from meta.names import AgentName
from meta.text import size
from reconciler.plan import steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import DiskUse, Transient

MEASURED = "measured, not enforced"


def stop_for_disk(c: Context) -> Decision | None:
    """Return the step that stops a running agent for the sake of the disk.

    It comes before every rule that has to write: on a full disk the stop must not wait for room.
    """
    container = c.observed.container
    if c.entry is None or not container.running or not container.ours:
        return None
    if c.observed.stop_asked:
        return c.drain_and_stop(Transient.STOPPING, "should be stopped; the disk is too full to record that", None)
    if not _is_over(c):
        return None
    launch = container.launch
    return c.do(steps.Stop(Transient.STOPPING, launch.nonce if launch else ""), "its files exceed its disk limit")


def held_for_disk(c: Context) -> Decision | None:
    """Return the decision to leave a stopped agent alone until the disk has room."""
    if c.entry is None or c.observed.container.running:
        return None
    if c.observed.stop_asked:
        why = "stopped as asked, which is not recorded: the disk is full"
        return c.nothing(why, phase="stopped", conditions=(f"{why}; free some space before the daemon ends",))
    use = c.observed.disk
    if use is None or not _is_over(c):
        return None
    condition = describe(c.name, use)
    return c.nothing("its files exceed its disk limit", phase="over-disk", conditions=(condition,))


def describe(agent: AgentName, use: DiskUse) -> str:
    """Return the condition of an agent that may not run."""
    remedy = f"remove files of agents/{agent}/ in the state directory, or raise HIVE_AGENT_DISK_MIB or its `disk_mib`"
    if use.limit is not None and use.bytes > use.limit:
        why = f"its files have {size(use.bytes)}, the limit is {size(use.limit)} ({MEASURED})"
    else:
        why = f"the disk is full, and its files cannot all be counted ({size(use.bytes)} were)"
    return f"{why}: {remedy}; it then starts by itself"


def _is_over(c: Context) -> bool:
    return c.observed.disk is not None and c.observed.disk.over and c.run.state is RunState.RUNNING
