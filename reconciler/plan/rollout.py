"""Rebuilding many agents wave by wave: what such a rollout is and what it does next. Pure.

Level-triggered like the plan: what comes next is derived from what is, so a daemon that dies in the middle goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meta.names import MANAGER, AgentName
from reconciler.plan.phases import GIVEN_UP

UP = frozenset({"running", "needs-login", "parked", "over-budget", "stopped"})
"""Phases in which an agent with nothing to do came through its rebuild. A stopped one is rebuilt, not started."""
PATIENCE = 3
"""Errors in a row of one agent's worker that end a rollout."""
AUTOMATIC = "hive"
"""By whom HIVE_AUTO_UPDATE's rollouts are."""
BUSY_PATIENCE = 3600
"""Seconds that the manager waits in an idle rollout for agents that are never between two turns."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rollout has to know about one agent.

    `rebuilds` is run.json's counter, `rebuilt` the last one that was done, `launched` that of its last start. A restore
    of meta takes the first one back. `rests`: its plan has no step. `built_with`: the hive that it is still built with
    where it is `outdated`.
    `between_turns`: a stop would cut no turn short. `trouble`: the error that its worker ran into PATIENCE times.
    """

    phase: str
    rests: bool
    rebuilds: int
    rebuilt: int
    crashes: int = 0
    between_turns: bool = True
    outdated: bool = False
    built_with: str = ""
    launched: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One `hive rebuild --all`, or one that HIVE_AUTO_UPDATE began.

    An agent of it is in `waiting`, in `begun` (with the rebuild that it must reach) or in `done`. `left_out` are those
    that were in no state to be rebuilt. `revision` is hive's, `at` Unix seconds. `now`: no drain. `idle`: an agent is
    begun between two turns only. `failed` is the agent that ended it and `reason` why; then `waiting` were left.
    """

    id: str
    by: str
    at: int
    revision: str
    waiting: tuple[AgentName, ...]
    now: bool = False
    idle: bool = False
    begun: Mapping[AgentName, int] = field(default_factory=dict)
    done: tuple[AgentName, ...] = ()
    left_out: tuple[AgentName, ...] = ()
    failed: AgentName | None = None
    reason: str | None = None

    @property
    def over(self) -> bool:
        """True once it begins nothing any more."""
        return self.failed is not None or not (self.waiting or self.begun)

    def holds(self, agent: AgentName | None) -> bool:
        """Whether something is still to come of it for `agent` (None: for anybody) without further ado."""
        if self.over:
            return False
        coming = {*self.begun, *(() if self.idle else self.waiting)}
        return bool(coming) if agent is None else agent in coming

    def describe(self) -> str:
        """How far it is, in words."""
        count = len(self.waiting) + len(self.begun) + len(self.done)
        parts = [f"{len(self.done)} of {count} done"]
        if self.failed is not None:
            others = sorted(name for name in self.begun if name != self.failed)
            parts.append(f"stopped since {self.failed} failed: {self.reason}")
            parts += [f"go on by themselves: {', '.join(others)}"] if others else []
            parts += [f"left as they were: {', '.join(self.waiting)}"] if self.waiting else []
        else:
            parts += [f"being rebuilt: {', '.join(sorted(self.begun))}"] if self.begun else []
            parts += [f"waiting: {', '.join(self.waiting)}"] if self.waiting else []
        parts += [f"left out: {', '.join(self.left_out)}"] if self.left_out else []
        return "; ".join(parts)


def begin(
    seen: Mapping[AgentName, Seen],
    *,
    id: str,
    by: str,
    at: int,
    revision: str,
    now: bool = False,
    idle: bool = False,
    only_outdated: bool = False,
) -> Rollout:
    """A rollout over the agents of `seen`, the manager last. It may have nothing to do."""
    chosen = [name for name in _in_order(seen) if seen[name].outdated or not only_outdated]
    able = tuple(name for name in chosen if seen[name].phase not in GIVEN_UP)
    left_out = tuple(name for name in chosen if name not in able)
    return Rollout(id, by, at, revision, able, now, idle, left_out=left_out)


def judge(rollout: Rollout, seen: Mapping[AgentName, Seen]) -> Rollout:
    """What became of the agents that are begun (one that is not in `seen` was destroyed meanwhile)."""
    fates = {name: _fate(target, seen.get(name), rollout.revision) for name, target in rollout.begun.items()}
    done = (*rollout.done, *(name for name in _in_order(fates) if fates[name] == "" and name in seen))
    begun = {name: target for name, target in rollout.begun.items() if fates[name] != ""}
    after = replace(rollout, begun=begun, done=done)
    failed = next((name for name in _in_order(begun) if fates[name]), None)
    return after if failed is None else replace(after, failed=failed, reason=fates[failed])


def next_wave(rollout: Rollout, seen: Mapping[AgentName, Seen], wave: int, now: int) -> Rollout:
    """Begin the next `wave` of those that wait, if the last wave is through and none failed. `now` in Unix seconds.

    The manager only when nobody else waits, or in an idle rollout nobody who was between two turns for BUSY_PATIENCE.
    """
    if rollout.begun or rollout.over:
        return rollout
    waiting = tuple(name for name in rollout.waiting if name in seen)
    able = [name for name in waiting if seen[name].between_turns or not rollout.idle]
    others = [name for name in waiting if name != MANAGER]
    held = [name for name in able if name != MANAGER]
    patient = others and now < rollout.at + BUSY_PATIENCE
    ready = (held if held or patient else able)[:wave]
    rest = tuple(name for name in waiting if name not in ready)
    return replace(rollout, waiting=rest, begun={name: _next(seen[name]) for name in ready})


def under_way(rollout: Rollout | None, revision: str) -> bool:
    """Whether a rollout is to be gone on with: not one of hive's own that only waits, once hive is another one."""
    if rollout is None or rollout.over:
        return False
    return bool(rollout.begun) or rollout.by != AUTOMATIC or rollout.revision == revision


def wanted(rollout: Rollout | None, seen: Mapping[AgentName, Seen], revision: str, mode: str) -> bool:
    """Whether HIVE_AUTO_UPDATE (off, idle or all) begins a rollout of what is outdated.

    Never while one is under way. What a rollout of the same revision tried is not tried again: the operator decides.
    """
    if mode == "off" or under_way(rollout, revision):
        return False
    tried: set[AgentName] = set()
    if rollout is not None and rollout.revision == revision:
        if rollout.failed is not None:
            return False
        tried = {*rollout.done}
    return any(each.outdated and each.phase not in GIVEN_UP and name not in tried for name, each in seen.items())


def _next(seen: Seen) -> int:
    """The rebuild to ask for: as `counters.next_rebuild`."""
    return max(seen.rebuilds, seen.rebuilt, seen.launched) + 1


def _fate(target: int, seen: Seen | None, revision: str) -> str | None:
    """ "" when it is over well, None while it is under way, else what went wrong."""
    if seen is None:
        return ""
    if seen.rebuilds < target:
        return None
    if seen.trouble:
        return seen.trouble
    if seen.phase in GIVEN_UP:
        return f"it is {seen.phase}"
    if seen.rebuilt < target:
        return "hive does not touch it, see `hive plan`" if seen.rests else None
    if seen.crashes:
        return f"it ended {seen.crashes} times since" if seen.crashes > 1 else "it did not come up healthy"
    if not seen.rests or seen.phase == "unknown":
        return None
    if seen.phase not in UP:
        return f"it came to rest as {seen.phase}"
    if seen.outdated and seen.built_with != revision:  # hive may have become another one meanwhile
        return f"it is rebuilt, and still built with hive {seen.built_with}"
    return ""


def _in_order(names: Iterable[AgentName]) -> list[AgentName]:
    """By name, the manager last: who could mend something goes when all else is well."""
    return sorted(names, key=lambda name: (name == MANAGER, name))
