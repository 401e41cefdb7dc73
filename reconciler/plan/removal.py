"""The rules for an agent that is not in meta: remove its leftovers. Pure."""

from __future__ import annotations

from meta.model import DeployKind, TagState
from meta.names import HIVE, MANAGER
from reconciler.plan import steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.deploy import name_taken
from reconciler.plan.observed import Transient


def owed_purge(c: Context) -> Decision | None:
    """Purge first if a purge was promised, whatever the tags are: what is purged is not rolled forward.

    A new agent may have the same name only afterwards. A container that is not hive's stays.
    """
    if not c.purge_owed:
        return None
    if not c.observed.container.ours:
        reason = f"to be purged; a container named {c.name} exists that hive did not make, which stays"
        return c.do(steps.Purge(), reason, phase="destroying")
    return absent(c)


def absent(c: Context) -> Decision | None:
    """Remove the container and the sockets of an agent without an entry. Its repos and /state stay."""
    if c.entry is not None:
        return None
    if c.observed.container.exists:
        if c.observed.container.running:
            return c.drain_and_stop(Transient.DESTROYING, "not in meta", None)
        return c.do(steps.Destroy(), "not in meta", phase="destroying")
    if c.observed.sockets:
        return c.do(steps.Destroy(), "not in meta, its sockets are left over", phase="destroying")
    if c.observed.memo.transient == Transient.DESTROYING:
        return c.do(steps.Destroy(), "its removal was interrupted", phase="destroying")
    if c.purge_owed:
        return c.do(steps.Purge(), "to be purged", phase="destroying")
    return _not_spawned(c) or c.nothing("not an agent", phase="absent")


def _not_spawned(c: Context) -> Decision | None:
    """Show a spawn that failed, with the remedy, until it is tried again or purged."""
    newest = max(c.deploys, key=lambda deploy: deploy.id, default=None)
    if newest is None or newest.kind is not DeployKind.SPAWN or newest.state is not TagState.FAILED:
        return None
    if newest.by != HIVE or newest.reason == name_taken(c.name):
        return None  # a person ended it, or it failed because the agent existed
    remedy = f"`hive spawn {c.name}` tries again"
    if c.tombstone is None and c.name != MANAGER:
        remedy += f", `hive destroy {c.name} --purge` forgets it"
    first_line = (newest.reason or "no reason was recorded").split("\n", 1)[0]
    failure = f"its spawn {newest.id} failed: {first_line}"
    return c.nothing(failure, phase="failed", conditions=(failure, remedy))
