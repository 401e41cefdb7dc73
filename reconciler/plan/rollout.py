"""A rollout: many agents are rebuilt wave by wave. The state of a rollout, and its next wave. Pure.

It is level-triggered like the plan: the next wave is derived from the present state. So a new daemon continues it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meta.names import HIVE, MANAGER, AgentName
from reconciler.plan.phases import GIVEN_UP, SETTLED

PATIENCE = 3
"""A rollout ends after this many errors in a row of one agent's worker."""
BUSY_PATIENCE = 3600
"""Seconds that an idle rollout waits for busy agents before it begins the manager.

An agent is busy while it is never between two turns.
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts about one agent that a rollout reads.

    `rebuilds` is run.json's counter, `rebuilt` the value that was done last, `launched` the value at its last start. A
    restore of meta lowers the first one. `rests`: its plan has no step. `built_with`: the hive that built it if it is
    `outdated`. `between_turns`: a stop would interrupt no turn. `trouble`: an error that recurred PATIENCE times.
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

    Each of its agents is in `waiting`, in `begun` (with the rebuild that it must reach) or in `done`. `left_out` could
    not be rebuilt. `by` is HIVE if HIVE_AUTO_UPDATE began it. `revision` is hive's, `at` Unix seconds. `now`: rebuild
    without a drain. `idle`: begin an agent only between two turns. `failed` is the agent that ended the rollout,
    `reason` its error; the agents in `waiting` are not rebuilt then.
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
        """True once the rollout begins no further agent."""
        return self.failed is not None or not (self.waiting or self.begun)

    def holds(self, agent: AgentName | None) -> bool:
        """Return True while the rollout still has work for `agent` (None: for any agent).

        In an idle rollout, agents that wait for the end of a turn do not count.
        """
        if self.over:
            return False
        ahead = {*self.begun, *(() if self.idle else self.waiting)}
        return bool(ahead) if agent is None else agent in ahead

    def describe(self) -> str:
        """Return the progress of the rollout in words."""
        count = len(self.waiting) + len(self.begun) + len(self.done)
        parts = [f"{len(self.done)} of {count} done"]
        if self.failed is not None:
            others = sorted(name for name in self.begun if name != self.failed)
            parts.append(f"stopped since {self.failed} failed: {self.reason}")
            parts += [f"continue by themselves: {', '.join(others)}"] if others else []
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
    """Return a rollout of the agents in `seen`, the manager last. It may be empty."""
    chosen = [name for name in _in_order(seen) if seen[name].outdated or not only_outdated]
    able = tuple(name for name in chosen if seen[name].phase not in GIVEN_UP)
    left_out = tuple(name for name in chosen if name not in able)
    return Rollout(id, by, at, revision, able, now, idle, left_out=left_out)


def judge(rollout: Rollout, seen: Mapping[AgentName, Seen]) -> Rollout:
    """Move the begun agents that are done or failed. An agent that is not in `seen` was destroyed meanwhile."""
    outcomes = {name: _outcome(target, seen.get(name), rollout.revision) for name, target in rollout.begun.items()}
    done = (*rollout.done, *(name for name in _in_order(outcomes) if outcomes[name] == "" and name in seen))
    begun = {name: target for name, target in rollout.begun.items() if outcomes[name] != ""}
    after = replace(rollout, begun=begun, done=done)
    failed = next((name for name in _in_order(begun) if outcomes[name]), None)
    return after if failed is None else replace(after, failed=failed, reason=outcomes[failed])


def next_wave(rollout: Rollout, seen: Mapping[AgentName, Seen], wave: int, now: int) -> Rollout:
    """Begin at most `wave` of the waiting agents if the last wave is done and none failed. `now` is in Unix seconds.

    The manager is begun when no other agent waits. An idle rollout also begins it BUSY_PATIENCE after its own
    beginning, if no other agent is between two turns.
    """
    if rollout.begun or rollout.over:
        return rollout
    waiting = tuple(name for name in rollout.waiting if name in seen)
    able = [name for name in waiting if seen[name].between_turns or not rollout.idle]
    others = [name for name in waiting if name != MANAGER]
    able_others = [name for name in able if name != MANAGER]
    waits_for_others = others and now < rollout.at + BUSY_PATIENCE
    ready = (able_others if able_others or waits_for_others else able)[:wave]
    rest = tuple(name for name in waiting if name not in ready)
    return replace(rollout, waiting=rest, begun={name: _next(seen[name]) for name in ready})


def under_way(rollout: Rollout | None, revision: str) -> bool:
    """Return True if `rollout` goes on.

    A rollout of HIVE_AUTO_UPDATE that only waits ends when hive itself is updated.
    """
    if rollout is None or rollout.over:
        return False
    return bool(rollout.begun) or rollout.by != HIVE or rollout.revision == revision


def wanted(rollout: Rollout | None, seen: Mapping[AgentName, Seen], revision: str, mode: str) -> bool:
    """Return True if HIVE_AUTO_UPDATE (`mode`: off, idle or all) begins a rollout of the outdated agents.

    It never begins one while another is under way. It does not repeat a rollout of the same revision: that is the
    operator's decision.
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
    """Return the rebuild to request, as `counters.next_rebuild` does."""
    return max(seen.rebuilds, seen.rebuilt, seen.launched) + 1


def _outcome(target: int, seen: Seen | None, revision: str) -> str | None:
    """Return "" if the rebuild is done, None while it is under way, else its error."""
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
    return _start_outcome(seen, revision)


def _start_outcome(seen: Seen, revision: str) -> str | None:
    if seen.crashes:
        return f"it ended {seen.crashes} times since" if seen.crashes > 1 else "it did not come up healthy"
    if not seen.rests or seen.phase == "unknown":
        return None
    if seen.phase not in SETTLED:
        return f"it ended up as {seen.phase}"
    if seen.outdated and seen.built_with != revision:  # hive itself may have been updated meanwhile
        return f"it is rebuilt, and still built with hive {seen.built_with}"
    return ""


def _in_order(names: Iterable[AgentName]) -> list[AgentName]:
    """Sort by name, the manager last: while it runs, it can repair the others."""
    return sorted(names, key=lambda name: (name == MANAGER, name))
