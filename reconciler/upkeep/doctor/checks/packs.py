"""Checks of what grows in the repos: packs of ended ids, and branches of push repos that hive dealt with."""

from __future__ import annotations

from functools import partial

from meta.applied import retention
from meta.applied.merged_packs import MOST_PACKS
from meta.errors import HiveError
from meta.git import packs
from meta.names import AgentName
from meta.proposed import push_objects, push_prune, push_refs
from meta.proposed.tips import Tip, read_tips
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

_MANY = 2 * MOST_PACKS
"""Packs of one applied repo. The daemon merges half of them already."""
_SETTLED = 3600.0
"""Seconds for which a branch stays after its push and its decision: its pusher may look at it, and `hive retry` too."""
_YOUNG = 60.0
"""Seconds for which the objects of a push stay also without a ref: it may still be under way."""


async def growth(subject: Subject) -> list[Finding]:
    """Check that no repo has many small packs, or much room taken by branches that were decided."""
    findings = []
    for agent in subject.repos():
        findings += _packs(subject, agent) + await _branches(subject, agent)
    return findings or ok("no repo has more than it needs")


def _packs(subject: Subject, agent: AgentName) -> list[Finding]:
    path = subject.layout.applied_git(agent)
    count = len(packs.ids(path))
    if count <= _MANY:
        return []
    text = f"{path} has {count} packs, one of each id: git looks through all of them"
    if subject.held:
        return [Finding(Verdict.WARN, text, "the daemon merges those of ended ids every half hour; see its log")]

    async def fix() -> str:
        return f"merged {await subject.applied(agent).merge_packs()} packs of {path}"

    return [Finding(Verdict.WARN, text, "`hive doctor --fix` merges those of ended ids", fix)]


async def _branches(subject: Subject, agent: AgentName) -> list[Finding]:
    """Report branches that were decided, if the push repo takes much room."""
    repo = subject.layout.push_repo(agent)
    try:
        size = sum(file.size for file in push_objects.read(repo))
    except OSError:
        return []
    if size <= subject.config.max_pack_bytes or not push_prune.is_prunable(subject.layout, agent):
        return []
    tips = await _dealt_with(subject, agent)
    if not tips:
        return []
    text = f"{repo} takes {size // 2**20} MiB, and {len(tips)} of its branches are decided: {', '.join(_few(tips))}"
    remedy = f"`hive doctor --fix` removes them; hive does so after {retention.BRANCH_DAYS} days"
    return [Finding(Verdict.WARN, text, remedy, partial(_collect, subject, agent))]


def _few(tips: tuple[Tip, ...]) -> list[str]:
    names = [ascii(tip.branch)[1:-1] for tip in tips[:5]]
    return [*names, "..."] if len(tips) > len(names) else names


async def _dealt_with(subject: Subject, agent: AgentName) -> tuple[Tip, ...]:
    applied = subject.applied(agent)
    try:
        deploys, main = await applied.deploys(), await applied.main()
    except HiveError:
        return ()  # the check `tags` reports it
    snapshot = read_tips(subject.layout.push_repos, f"{agent}.git")
    return retention.dealt_with(snapshot.tips, deploys, _before(subject), main=main)


def _before(subject: Subject) -> float:
    return subject.host.now() - _SETTLED


async def _collect(subject: Subject, agent: AgentName) -> str:
    """Remove the branches that are decided, then what no ref reaches."""
    repo = subject.layout.push_repo(agent)
    tips = await _dealt_with(subject, agent)
    removed = push_refs.remove_branches(repo, tips, _before(subject))
    now = subject.host.now() + push_prune.EXPIRE - _YOUNG
    pruned = await push_prune.prune(subject.layout, agent, subject.config, now)
    done = f"removed {len(removed)} branches of {repo}"
    if pruned is None:
        return f"{done}; their objects stay until no push is under way"
    return f"{done}, and {pruned.removed.size // 2**20} MiB that no ref reaches"
