"""The plan: `plan(desired, observed, deploys, now)` returns one step and its reason for each agent. Pure.

Every observation has an answer, so an unknown state never stalls an agent. While a deploy is in flight the target is
its candidate, so the loop does not "repair" it. The plan is level-triggered: it is derived from the present state,
never from past events. So after a kill at any point, hive continues from the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meta.agent_toml.logins import login_remedy
from meta.config import Config
from meta.model import Deploy, Desired, RunState, TagState
from meta.names import AgentName, ProposalId
from reconciler.plan import steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.deploy import deploy_rule, in_flight, roll_forward
from reconciler.plan.down import stop_to_go_down
from reconciler.plan.full_disk import held_for_disk, stop_for_disk
from reconciler.plan.observed import AgentObserved, Deploys, Observed
from reconciler.plan.phases import PHASES, REMEDIES, WANTED
from reconciler.plan.removal import absent, owed_purge
from reconciler.plan.repair import repair
from reconciler.plan.revisions import difference
from reconciler.plan.turn import with_turn


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step of every agent, by name."""

    decisions: Mapping[AgentName, Decision]

    @property
    def empty(self) -> bool:
        """True if no agent has a step or a wait."""
        return all(isinstance(decision.step, steps.Nothing) for decision in self.decisions.values())


def plan(
    desired: Desired, observed: Observed, deploys: Deploys, now: float, config: Config, only: Iterable[AgentName] = ()
) -> Plan:
    """Return the plan of every agent that is desired, observed or proposed; or of the agent `only`.

    `now` is in Unix seconds.
    """
    names = set(only) or {*desired.agents, *observed.agents, *deploys}
    names |= {name for name, tomb in desired.tombstones.items() if tomb.purge} if not only else set()
    decisions = {}
    for name in sorted(names):
        context = Context(
            name=name,
            head=desired.head,
            entry=desired.agents.get(name),
            tombstone=desired.tombstones.get(name),
            run=desired.run_of(name),
            observed=observed.agents.get(name, AgentObserved()),
            deploys=deploys.get(name, ()),
            now=now,
            daemon_since=observed.daemon_since,
            config=config,
            revision=observed.revision,
            goes_down=observed.goes_down,
        )
        decisions[name] = decide(context)
    return Plan(decisions)


def decide(c: Context) -> Decision:
    """Return the decision of the first rule that makes one."""
    for rule in _RULES:
        decision = rule(c)
        if decision is not None:
            break
    else:
        decision = c.nothing("stopped as asked" if _is_stopped(c) else "as desired")
    return with_turn(c, _with_remedy(c, _with_unproven(c, _with_outdated(c, _or_preview(c, decision)))))


def _is_stopped(c: Context) -> bool:
    return c.entry is not None and c.run.state is RunState.STOPPED


def open_ids(deploys: Iterable[Deploy]) -> tuple[ProposalId, ...]:
    """Return the ids that still wait for the operator."""
    return tuple(deploy.id for deploy in deploys if deploy.state is TagState.PROPOSAL)


def _with_remedy(c: Context, decision: Decision) -> Decision:
    """Add the remedy of an agent that hive does not bring up by itself, and a condition with the reason and the remedy.

    A rule that gives its own remedy or names a command in its conditions needs no other condition.
    """
    remedy = REMEDIES.get(decision.phase, "").format(c.name)
    if decision.phase == "needs-login" and (about := c.observed.link.about) is not None:
        remedy = login_remedy(about.runtime, c.name)
    if decision.remedy or not remedy or not isinstance(decision.step, steps.Nothing | steps.Preview):
        return decision
    decision = replace(decision, remedy=remedy)
    if decision.phase in WANTED or any("`hive " in condition for condition in decision.conditions):
        return decision
    reason = _reason(decision)
    condition = reason if "`hive " in reason else f"{reason}; {remedy}"
    return replace(decision, conditions=(*decision.conditions, f"{decision.phase}: {condition}"))


def _reason(decision: Decision) -> str:
    """Return why the agent is in its phase. The reason of the step says that only if there is no step."""
    is_said = isinstance(decision.step, steps.Nothing) and decision.reason != "as desired"
    return decision.reason if is_said else PHASES[decision.phase]


def _with_unproven(c: Context, decision: Decision) -> Decision:
    """Add a condition for a deploy that has not passed the health gate, until its first start is over."""
    unproven = c.unproven()
    if unproven is None or decision.phase == "failed":
        return decision
    if c.observed.container.running:
        state = "in the health gate of its first start"
    else:
        state = "its first start failed" if c.observed.memo.crashes else "not started yet"
    return replace(decision, conditions=(*decision.conditions, f"{unproven} is unproven, {state}"))


def _with_outdated(c: Context, decision: Decision) -> Decision:
    """Add a condition for an agent that another hive built."""
    outdated = c.outdated()
    if outdated is None:
        return decision
    words = difference(outdated.built, outdated.now)
    condition = f"{words}; `hive rebuild {c.name}` builds it again"
    return replace(decision, outdated=outdated, conditions=(*decision.conditions, condition))


def _or_preview(c: Context, decision: Decision) -> Decision:
    """Preview a pending proposal if the agent has no other step."""
    if c.goes_down or c.observed.previewed is None or not isinstance(decision.step, steps.Nothing):
        return decision
    id = min((id for id in open_ids(c.deploys) if id not in c.observed.previewed), default=None)
    if id is None:
        return decision
    return replace(decision, step=steps.Preview(id), reason=f"{id} waits for a decision and is not evaluated yet")


def _project(c: Context) -> Decision | None:
    if c.observed.damage or (c.purge_owed and not c.deploys):
        return None  # unreadable, or out of the way and what the cards show is purged with them
    return None if c.observed.projected else c.do(steps.Project(), "the cards do not agree with the tags")


def _damaged(c: Context) -> Decision | None:
    """Hold an agent of which a file is damaged: what it says is not known, so that no step can be right."""
    if not c.observed.damage:
        return None
    return c.nothing(
        f"{c.observed.damage}: held as it is", phase="damaged", conditions=(c.observed.damage, c.observed.remedy)
    )


def _not_ours(c: Context) -> Decision | None:
    if c.observed.container.ours:
        return None
    reason = f"a container named {c.name} exists that hive did not make"
    deploy = in_flight(c.deploys)
    if deploy is not None:
        return c.do(steps.Fail(deploy.id, f"{reason}; remove it or choose another name", False), reason, deploy)
    remedy = f"remove it by hand, or choose another name; then `hive reconcile {c.name}`"
    decision = c.nothing(f"{reason}: hive does not touch it", conditions=(f"{reason}; {remedy}",))
    return replace(decision, remedy=remedy)


def _disagrees(c: Context) -> Decision | None:
    disowned = c.entry.disowned if c.entry else c.tombstone.disowned if c.tombstone else frozenset()
    foreign = sorted(c.observed.foreign - disowned)
    if not foreign:
        return None
    ids = ", ".join(map(str, foreign))
    return c.nothing(
        f"the tags of {ids} and meta contradict each other (was meta restored from a backup?): held as it is",
        phase="disagrees",
        conditions=(f"decide with `hive adopt {c.name} --running` or `hive adopt {c.name} --meta`",),
    )


_RULES = (
    stop_to_go_down,
    stop_for_disk,
    _project,
    owed_purge,
    _damaged,
    roll_forward,
    _not_ours,
    _disagrees,
    held_for_disk,
    deploy_rule,
    absent,
    repair,
)
