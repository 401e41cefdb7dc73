"""What to do next, pure: `plan(desired, observed, deploys, now)` yields for each agent one step and the reason.

No I/O, and total: whatever is observed, there is an answer, and an unknown state never stalls it. While a deploy is
in flight the target is its candidate, so the loop does not "repair" it. The plan is level-triggered: it is derived
from what is, never from what happened, so a crash of hive anywhere leads back into the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meta.config import Config
from meta.model import AgentEntry, ContainerSettings, Deploy, DeployKind, Desired, Generation, RunState, TagState
from meta.names import MANAGER, AgentName, ProposalId
from reconciler.plan import health, steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import AgentObserved, Deploys, Observed, Transient
from reconciler.plan.repair import repair

MAX_DEATHS = 2
"""So many daemons may die in one step of one id; then it is failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step of every agent, by name."""

    decisions: Mapping[AgentName, Decision]

    @property
    def empty(self) -> bool:
        """True when no agent has anything to do or to wait for."""
        return all(isinstance(decision.step, steps.Nothing) for decision in self.decisions.values())


def plan(
    desired: Desired, observed: Observed, deploys: Deploys, now: float, config: Config, only: Iterable[AgentName] = ()
) -> Plan:
    """The plan for every agent that is desired, observed or proposed (or just for `only`). `now` is Unix seconds."""
    names = set(only) or {*desired.agents, *observed.agents, *deploys}
    names |= {name for name, tomb in desired.tombstones.items() if tomb.purge} if not only else set()
    decisions = {}
    for name in sorted(names):
        seen = observed.agents.get(name, AgentObserved())
        context = Context(
            name=name,
            head=desired.head,
            entry=desired.agents.get(name),
            tombstone=desired.tombstones.get(name),
            run=desired.run_of(name),
            seen=seen,
            deploys=deploys.get(name, ()),
            now=now,
            daemon_since=observed.daemon_since,
            config=config,
            revision=observed.revision,
        )
        decisions[name] = decide(context)
    return Plan(decisions)


def decide(c: Context) -> Decision:
    """The next step of one agent: the first rule that has something to say."""
    for rule in (_project, _roll_forward, _not_ours, _disagrees, _owed_purge, _deploy, _absent, repair):
        decision = rule(c)
        if decision is not None:
            return _say(c, _mark(c, _preview(c, decision)))
    return _say(c, _mark(c, _preview(c, c.nothing("as desired"))))


def _say(c: Context, decision: Decision) -> Decision:
    """What was never through the health gate is said to be so, until its first start is over."""
    owed = c.unproven()
    if owed is None or decision.phase == "failed":
        return decision
    if c.seen.container.running:
        how = "in the health gate of its first start"
    else:
        how = "its first start failed" if c.seen.memo.crashes else "not started yet"
    return replace(decision, conditions=(*decision.conditions, f"{owed} is unproven, {how}"))


def _mark(c: Context, decision: Decision) -> Decision:
    """What another hive built is said to be so, whatever comes next."""
    found = c.outdated()
    if found is None:
        return decision
    told = f"built with hive {found.built}, this is {found.now}; `hive rebuild {c.name}` builds it anew"
    return replace(decision, outdated=found, conditions=(*decision.conditions, told))


def _preview(c: Context, decision: Decision) -> Decision:
    """With nothing else to do: what would the pending proposals become?"""
    if c.seen.previewed is None or not isinstance(decision.step, steps.Nothing):
        return decision
    pending = (deploy.id for deploy in c.deploys if deploy.state is TagState.PROPOSAL)
    id = min((id for id in pending if id not in c.seen.previewed), default=None)
    if id is None:
        return decision
    return replace(decision, step=steps.Preview(id), reason=f"{id} waits for a decision and is not evaluated yet")


def _project(c: Context) -> Decision | None:
    return None if c.seen.projected else c.do(steps.Project(), "the cards do not show what the tags say")


def _roll_forward(c: Context) -> Decision | None:
    """After the commit point there is only forward: A9 and A10."""
    for deploy in c.deploys:
        commit = c.seen.committed.get(deploy.id)
        if not deploy.state.terminal and commit is not None:
            step = steps.Finish(deploy.id, commit, _unproven(c, deploy))
            return c.do(step, f"meta has {deploy.id}, its tag is missing", deploy)
        if deploy.state in (TagState.PROPOSAL, TagState.APPROVED) and deploy.id in c.seen.candidates:
            if deploy.id == c.seen.previewing:
                continue
            return c.do(steps.Drop(deploy.id), f"the preview of {deploy.id} was cut short", deploy)
        if deploy.state.terminal and deploy.id in c.seen.candidates:
            return c.do(steps.Drop(deploy.id), f"{deploy.id} is {deploy.state}, its candidate is left over", deploy)
        pinned = c.entry is not None and c.entry.pin.id == deploy.id
        if deploy.state is TagState.DENIED and deploy.id in c.seen.built and not pinned:
            return c.do(steps.Drop(deploy.id), f"{deploy.id} is denied, what it was built into is left over", deploy)
    return None


def _unproven(c: Context, deploy: Deploy) -> bool:
    """Whether nothing says that what runs from now on passed the gate: the agent was stopped at the commit point.

    While it should run only a healthy launch is committed, so a launch for `deploy` that is still there was one.
    """
    if c.entry is None or c.entry.pin.id != deploy.id:
        return False
    launch, generation = c.seen.container.launch, c.seen.built.get(deploy.id)
    if launch is None or generation is None or launch.generation != generation.id:
        return True
    committed_healthy = c.seen.container.running and launch.deploy == deploy.id
    return not committed_healthy and launch.nonce != c.seen.memo.healthy_nonce


def _not_ours(c: Context) -> Decision | None:
    if c.seen.container.ours:
        return None
    why = f"a container named {c.name} exists that hive did not make"
    deploy = _in_flight(c.deploys)
    if deploy is not None:
        return c.do(steps.Fail(deploy.id, f"{why}; remove it or choose another name", False), why, deploy)
    if c.entry is None and c.tombstone is not None and c.tombstone.purge:
        return c.do(steps.Purge(), f"to be purged; {why}, which stays", phase="destroying")
    return c.nothing(f"{why}: hive does not touch it")


def _disagrees(c: Context) -> Decision | None:
    disowned = c.entry.disowned if c.entry else c.tombstone.disowned if c.tombstone else frozenset()
    foreign = sorted(c.seen.foreign - disowned)
    if not foreign:
        return None
    named = ", ".join(map(str, foreign))
    return c.nothing(
        f"the tags of {named} and meta tell different stories (was meta restored from a backup?): held as it is",
        phase="disagrees",
        conditions=(f"decide with `hive adopt {c.name} --running` or `hive adopt {c.name} --meta`",),
    )


def _in_flight(deploys: tuple[Deploy, ...]) -> Deploy | None:
    building = [deploy for deploy in deploys if deploy.state is TagState.BUILDING]
    approved = [deploy for deploy in deploys if deploy.state is TagState.APPROVED]
    return min(building or approved, key=lambda deploy: deploy.id, default=None)


def _deploy(c: Context) -> Decision | None:
    deploy = _in_flight(c.deploys)
    if deploy is None:
        return None
    if deploy.kind is DeployKind.SPAWN and c.entry is not None:
        return c.do(steps.Fail(deploy.id, _taken(c.name), False), "name is taken", deploy)
    if deploy.kind is not DeployKind.SPAWN and c.entry is None:
        return c.do(steps.Fail(deploy.id, f"there is no agent {c.name}", False), "the agent is gone", deploy)
    if c.run.state is RunState.STOPPED and c.seen.container.running:
        return c.drain_and_stop(Transient.STOPPING, "should be stopped", deploy)
    if deploy.state is TagState.APPROVED:
        return c.do(steps.Begin(deploy.id), f"{deploy.id} is approved", deploy)
    for (proposal, step), deaths in sorted(c.seen.memo.deaths.items()):
        if proposal == deploy.id and deaths >= MAX_DEATHS:
            reason = f"hive died {deaths} times in step {step}"
            return c.do(steps.Fail(deploy.id, reason, _touched(c, deploy)), reason, deploy)
    candidate = c.seen.candidates.get(deploy.id)
    if candidate is None:
        return c.do(steps.MakeCandidate(deploy.id), f"{deploy.id} has no candidate commit", deploy)
    settings = candidate.entry.settings
    generation = c.built(deploy.id, deploy.sha, settings)
    if generation is None:
        build = steps.Build(deploy.id, deploy.sha, settings, candidate.commit)
        return c.do(build, f"{deploy.id} is not built", deploy)
    return (
        c.furnish(settings, deploy)
        or _bring_up(c, deploy, generation, settings)
        or _gate(c, deploy, generation, candidate.entry)
    )


def _bring_up(c: Context, deploy: Deploy, generation: Generation, settings: ContainerSettings) -> Decision | None:
    """A5 and A6: until the container runs the candidate's generation (or is set to it, if it should be stopped)."""
    container, launch = c.seen.container, c.seen.container.launch
    wanted = c.run.state is RunState.RUNNING
    if container.running:
        same = launch is not None and launch.generation == generation.id
        if same and wanted and launch is not None and launch.fingerprint == generation.fingerprint:
            return None
        why = f"{deploy.id} replaces what runs" if wanted else "should be stopped"
        return c.drain_and_stop(Transient.SWITCHING, why, deploy)
    if _died_in_gate(c, deploy, generation):
        verdict = health.Unhealthy(f"{container.exit.describe() if container.exit else 'gone'} before it was healthy")
        return _fail(c, deploy, verdict.reason)
    if container.system != generation.id or container.fingerprint != generation.fingerprint:
        return c.do(steps.Switch(generation, settings), f"{deploy.id} is built, the container has another", deploy)
    if not wanted:
        return None
    start = steps.Start(generation, deploy.id, c.run.restarts, c.run.rebuilds)
    return c.do(start, f"{deploy.id} is set and not running", deploy)


def _died_in_gate(c: Context, deploy: Deploy, generation: Generation) -> bool:
    """Whether the start that belongs to this deploy ended by itself.

    A launch of an earlier daemon that is gone without a trace (host restarted) does not count: start it again.
    """
    launch, ended = c.seen.container.launch, c.seen.container.exit
    if launch is None or launch.deploy != deploy.id or launch.generation != generation.id:
        return False
    if ended is None or ended.nonce != launch.nonce or ended.nonce == c.seen.memo.expected_exit:
        return False
    return not (ended.lost and launch.at < c.daemon_since)


def _gate(c: Context, deploy: Deploy, generation: Generation, entry: AgentEntry) -> Decision:
    """A7 and A8: judge the launch, then commit."""
    commit = steps.Commit(deploy.id, entry, generation, True)
    if c.run.state is RunState.STOPPED:
        unproven = replace(commit, proven=False)
        return c.do(unproven, f"{deploy.id} is built and set; the agent is stopped, so it is unproven", deploy)
    match c.judge():
        case health.Healthy():
            return c.do(commit, f"{deploy.id} is healthy", deploy)
        case health.Pending(until, reason):
            return c.do(steps.Wait(until), reason, deploy)
        case health.Unhealthy(reason):
            return _fail(c, deploy, reason)


def _fail(c: Context, deploy: Deploy, reason: str) -> Decision:
    return c.do(steps.Fail(deploy.id, reason, _touched(c, deploy)), reason, deploy)


def _touched(c: Context, deploy: Deploy) -> bool:
    """Whether the container was already switched to what this id was built into."""
    generation = c.seen.built.get(deploy.id)
    head = c.seen.built.get(c.entry.pin.id) if c.entry else None
    if generation is None or (head is not None and head.id == generation.id):
        return False
    launch = c.seen.container.launch
    return c.seen.container.system == generation.id or (launch is not None and launch.deploy == deploy.id)


def _owed_purge(c: Context) -> Decision | None:
    """A purge that was promised comes before anything of the same name."""
    owed = c.entry is None and c.tombstone is not None and c.tombstone.purge
    return _absent(c) if owed else None


def _absent(c: Context) -> Decision | None:
    """No entry in meta and nothing in flight: what is left of the agent goes away; repos and /state stay."""
    if c.entry is not None:
        return None
    if c.seen.container.exists:
        if c.seen.container.running:
            return c.drain_and_stop(Transient.DESTROYING, "not in meta", None)
        return c.do(steps.Destroy(), "not in meta", phase="destroying")
    if c.seen.sockets:
        return c.do(steps.Destroy(), "not in meta, its sockets are left over", phase="destroying")
    if c.seen.memo.transient == Transient.DESTROYING:
        return c.do(steps.Destroy(), "its removal was cut off", phase="destroying")
    if c.tombstone is not None and c.tombstone.purge:
        return c.do(steps.Purge(), "to be purged", phase="destroying")
    return _not_spawned(c) or c.nothing("not an agent", phase="absent")


def _not_spawned(c: Context) -> Decision | None:
    """A spawn that hive failed stays visible, with the remedy, until it is tried again or purged."""
    newest = max(c.deploys, key=lambda deploy: deploy.id, default=None)
    if newest is None or newest.kind is not DeployKind.SPAWN or newest.state is not TagState.FAILED:
        return None
    if newest.by != "hive" or newest.reason == _taken(c.name):
        return None  # a person ended it, or it failed because the agent was there
    remedy = f"`hive spawn {c.name}` tries again"
    if c.tombstone is None and c.name != MANAGER:
        remedy += f", `hive destroy {c.name} --purge` forgets it"
    first = (newest.reason or "no reason was recorded").split("\n", 1)[0]
    return c.nothing(
        f"its spawn {newest.id} failed: {first}",
        phase="failed",
        conditions=(f"its spawn {newest.id} failed: {first}", remedy),
    )


def _taken(agent: AgentName) -> str:
    return f"an agent named {agent} already exists"


def open_ids(deploys: Iterable[Deploy]) -> tuple[ProposalId, ...]:
    """Ids that still wait for the operator."""
    return tuple(deploy.id for deploy in deploys if deploy.state is TagState.PROPOSAL)
