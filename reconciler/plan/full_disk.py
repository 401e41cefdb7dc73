"""The rules for an agent that holds too much of the disk, and for a stop that could not be recorded. Pure."""

from __future__ import annotations

from dataclasses import replace

from meta.model import RunState
from meta.names import AgentName
from meta.text import size
from reconciler.plan import steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import DiskUse, Transient

MEASURED = "measured, not enforced"
_CHECK = "`hive doctor` checks it"


def stop_for_disk(c: Context) -> Decision | None:
    """Return the step that stops a running agent for the sake of the disk.

    It comes before every rule that has to write: on a full disk the stop must not wait for room.
    """
    container = c.observed.container
    if c.entry is None or not container.running or not container.ours:
        return None
    if c.observed.stop_asked:
        return c.drain_and_stop(Transient.STOPPING, "should be stopped; the disk is too full to record that", None)
    use = c.observed.disk
    if use is None or not _is_over(c):
        return None
    launch = container.launch
    return c.do(steps.Stop(Transient.STOPPING, launch.nonce if launch else ""), reason(use))


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
    return replace(
        c.nothing(reason(use), phase="over-disk", conditions=(f"{condition} ({_CHECK})",)),
        remedy=f"{_remedy(c.name, use)} ({_CHECK})",
    )


def reason(use: DiskUse) -> str:
    """Return in a few words why an agent with such files may not run."""
    if use.exceeds:
        return "its files exceed its disk limit"
    return "its files cannot all be counted, and the disk is full"


def compare(use: DiskUse) -> str:
    """Return what an agent's files have, and the limit that they exceed or, if they exceed none, what was counted."""
    unlinked = f", {size(use.unlinked)} of it in deleted files that its processes held open" if use.unlinked else ""
    if use.limit is not None and use.bytes > use.limit:
        return f"its files have {size(use.bytes)}{unlinked}, the limit is {size(use.limit)} ({MEASURED})"
    if use.inode_limit is not None and use.inodes > use.inode_limit:
        return f"it has {use.inodes} files and directories, the limit is {use.inode_limit} ({MEASURED})"
    return f"the disk is full, and its files cannot all be counted ({size(use.bytes)} were)"


def describe(agent: AgentName, use: DiskUse) -> str:
    """Return the condition of an agent that may not run, and the remedy."""
    return f"{compare(use)}: {_remedy(agent, use)}; it then starts by itself"


def _remedy(agent: AgentName, use: DiskUse) -> str:
    other = "raise its `disk_mib` or HIVE_AGENT_DISK_MIB" if use.exceeds else "free other space"
    return f"remove files of agents/{agent}/ in the state directory, or {other}"


def _is_over(c: Context) -> bool:
    return c.observed.disk is not None and c.observed.disk.over and c.run.state is RunState.RUNNING
