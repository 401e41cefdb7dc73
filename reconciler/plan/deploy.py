"""The rules for a deploy: from approved to the commit point, and forward from there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from meta.errors import NotFound
from meta.model import AgentEntry, ContainerSettings, Deploy, DeployKind, Generation, RunState, TagState
from meta.names import AgentName, ProposalId
from reconciler.plan import health, steps
from reconciler.plan.context import Context, Decision
from reconciler.plan.observed import Transient

MAX_DEATHS = 2
"""Fail a deploy after this many daemon deaths in the same step."""
_UNDER_WAY = (TagState.APPROVED, TagState.BUILDING)


def in_flight(deploys: tuple[Deploy, ...]) -> Deploy | None:
    """Return the deploy in flight: the oldest that is building, else the oldest approved one."""
    under_way = [deploy for deploy in deploys if deploy.state in _UNDER_WAY]
    building = [deploy for deploy in under_way if deploy.state is TagState.BUILDING]
    approved = [deploy for deploy in under_way if deploy.state is TagState.APPROVED]
    return min(building or approved, key=lambda deploy: deploy.id, default=None)


def find_deploy(deploys: Iterable[Deploy], agent: AgentName, id: ProposalId) -> Deploy:
    """Return the deploy `id` of `agent`. Raises NotFound."""
    for deploy in deploys:
        if deploy.id == id:
            return deploy
    raise NotFound(f"{agent} has no proposal {id}", "see `hive pending --all`")


def name_taken(agent: AgentName) -> str:
    """Return why a spawn fails because the agent exists; None if it does not exist."""
    return f"an agent named {agent} already exists"


def roll_forward(c: Context) -> Decision | None:
    """Finish what is on meta's `main` and drop what is no longer needed (A9, A10). From there it only goes forward."""
    observed = c.observed
    left = {*observed.candidates, *observed.built}
    # of thousands of ids nearly all ended long ago, and nothing of them is left
    for deploy in [deploy for deploy in c.deploys if deploy.id in left or not deploy.state.terminal]:
        decision = _finish(c, deploy) or _drop(c, deploy)
        if decision is not None:
            return decision
    return None


def _finish(c: Context, deploy: Deploy) -> Decision | None:
    commit = c.observed.committed.get(deploy.id)
    if deploy.state.terminal or commit is None:
        return None
    step = steps.Finish(deploy.id, commit, _is_unproven(c, deploy))
    return c.do(step, f"meta has {deploy.id}, its tag is missing", deploy)


def _drop(c: Context, deploy: Deploy) -> Decision | None:
    has_candidate = deploy.id in c.observed.candidates
    pending = deploy.state in (TagState.PROPOSAL, TagState.APPROVED)
    if pending and has_candidate and deploy.id != c.observed.previewing:
        return c.do(steps.Drop(deploy.id), f"the preview of {deploy.id} was interrupted", deploy)
    if deploy.state.terminal and has_candidate:
        return c.do(steps.Drop(deploy.id), f"{deploy.id} is {deploy.state}, its candidate is left over", deploy)
    pinned = c.entry is not None and c.entry.pin.id == deploy.id
    if deploy.state is TagState.DENIED and deploy.id in c.observed.built and not pinned:
        return c.do(steps.Drop(deploy.id), f"{deploy.id} is denied, its generation is left over", deploy)
    return None


def _is_unproven(c: Context, deploy: Deploy) -> bool:
    """Return True unless something shows that what runs from now on passed the gate.

    If the agent was stopped at the commit point, nothing shows that. While an agent should run, only a healthy launch
    is committed. So a launch for `deploy` that still exists was healthy.
    """
    if c.entry is None or c.entry.pin.id != deploy.id:
        return False
    launch, generation = c.observed.container.launch, c.observed.built.get(deploy.id)
    if launch is None or generation is None or launch.generation != generation.id:
        return True
    committed_healthy = c.observed.container.running and launch.deploy == deploy.id
    return not committed_healthy and launch.nonce != c.observed.memo.healthy_nonce


def deploy_rule(c: Context) -> Decision | None:
    """Return the next step of the deploy in flight, or None if there is none."""
    deploy = in_flight(c.deploys)
    if deploy is None:
        return None
    return _refuse(c, deploy) or _begin(c, deploy) or _give_up(c, deploy) or _advance(c, deploy)


def _refuse(c: Context, deploy: Deploy) -> Decision | None:
    spawn = deploy.kind is DeployKind.SPAWN
    if spawn and c.entry is not None:
        return c.do(steps.Fail(deploy.id, name_taken(c.name), False), "name is taken", deploy)
    if not spawn and c.entry is None:
        return c.do(steps.Fail(deploy.id, f"there is no agent {c.name}", False), "the agent is gone", deploy)
    return None


def _begin(c: Context, deploy: Deploy) -> Decision | None:
    if c.run.state is RunState.STOPPED and c.observed.container.running:
        return c.drain_and_stop(Transient.STOPPING, "should be stopped", deploy)
    if deploy.state is TagState.APPROVED:
        return c.do(steps.Begin(deploy.id), f"{deploy.id} is approved", deploy)
    return None


def _give_up(c: Context, deploy: Deploy) -> Decision | None:
    for (proposal, step), deaths in sorted(c.observed.memo.deaths.items()):
        if proposal == deploy.id and deaths >= MAX_DEATHS:
            return _fail(c, deploy, f"hive died {deaths} times in step {step}")
    return None


def _advance(c: Context, deploy: Deploy) -> Decision:
    candidate = c.observed.candidates.get(deploy.id)
    if candidate is None:
        return c.do(steps.MakeCandidate(deploy.id), f"{deploy.id} has no candidate commit", deploy)
    settings = candidate.entry.settings
    generation = c.built(deploy.id, deploy.sha, settings)
    if generation is None:
        build = steps.Build(deploy.id, deploy.sha, settings, candidate.commit)
        return c.do(build, f"{deploy.id} is not built", deploy)
    return (
        c.prepare_host(settings, deploy)
        or _start(c, deploy, generation, settings)
        or _gate(c, deploy, generation, candidate.entry)
    )


def _start(c: Context, deploy: Deploy, generation: Generation, settings: ContainerSettings) -> Decision | None:
    """Run the candidate's generation (A5, A6). If the agent should be stopped, only set it."""
    container, launch = c.observed.container, c.observed.container.launch
    wanted = c.run.state is RunState.RUNNING
    if container.running:
        same = launch is not None and launch.generation == generation.id
        if same and wanted and launch is not None and launch.fingerprint == generation.fingerprint:
            return None
        reason = f"{deploy.id} replaces what runs" if wanted else "should be stopped"
        return c.drain_and_stop(Transient.SWITCHING, reason, deploy)
    if _died_in_gate(c, deploy, generation):
        ended = container.exit.describe() if container.exit else "gone"
        return _fail(c, deploy, f"{ended} before it was healthy")
    if container.system != generation.id or container.fingerprint != generation.fingerprint:
        return c.do(steps.Switch(generation, settings), f"{deploy.id} is built, the container has another", deploy)
    if not wanted:
        return None
    start = steps.Start(generation, deploy.id, c.run.restarts, c.run.rebuilds)
    return c.do(start, f"{deploy.id} is set and not running", deploy)


def _died_in_gate(c: Context, deploy: Deploy, generation: Generation) -> bool:
    """Return True if the start that belongs to this deploy ended by itself.

    A launch of an earlier daemon without an exit record does not count, because the host may have restarted. It is
    started again.
    """
    launch, ended = c.observed.container.launch, c.observed.container.exit
    if launch is None or launch.deploy != deploy.id or launch.generation != generation.id:
        return False
    if ended is None or ended.nonce != launch.nonce or ended.nonce == c.observed.memo.expected_exit:
        return False
    return not (ended.lost and launch.at < c.daemon_since)


def _gate(c: Context, deploy: Deploy, generation: Generation, entry: AgentEntry) -> Decision:
    """Judge the launch and commit (A7, A8)."""
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
    """Return True if the container was already switched to the generation of this deploy."""
    generation = c.observed.built.get(deploy.id)
    head = c.observed.built.get(c.entry.pin.id) if c.entry else None
    if generation is None or (head is not None and head.id == generation.id):
        return False
    launch = c.observed.container.launch
    return c.observed.container.system == generation.id or (launch is not None and launch.deploy == deploy.id)
