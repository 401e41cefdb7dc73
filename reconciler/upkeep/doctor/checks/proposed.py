"""Checks of work trees and push repos, from outside: neither is ever opened."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

from meta.git import stale_locks
from meta.names import AgentName
from meta.proposed import push_group, push_move, push_objects, push_repo
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

_AWAY = "move it away, then run `hive rebuild {0}`, which makes a new one"


async def repos(subject: Subject) -> list[Finding]:
    """Check work trees, push repos and their group.

    Missing repos are not reported, because the daemon makes them again.
    """
    view, findings = await subject.view(), []
    agents = sorted(view.desired.agents) if view is not None else []
    for agent in agents:
        findings += _work_tree(subject, agent) + _push_repo(subject, agent)
    return findings + _aside(subject) + _group(subject, agents) or ok(f"those of {len(agents)} agents are complete")


def _work_tree(subject: Subject, agent: AgentName) -> list[Finding]:
    tree = subject.layout.proposed_config(agent)
    kind = _kind(tree)
    if kind is None:
        return []
    if kind != "directory":
        return [Finding(Verdict.FAIL, f"{tree} is not a work tree but a {kind}", _AWAY.format(agent))]
    kind = _kind(tree / ".git")
    if kind == "directory":
        return []
    text = (
        f"{tree}/.git is {f'not a directory but a {kind}' if kind else 'missing'}: nothing can be proposed from there"
    )
    return [Finding(Verdict.FAIL, text, _AWAY.format(agent))]


def _push_repo(subject: Subject, agent: AgentName) -> list[Finding]:
    layout, findings = subject.layout, []
    path = push_repo.path_of(layout, agent)
    if _kind(path) is not None and (fault := push_repo.fault(layout, agent)):
        text = f"{path} is not a push repo as hive made it: {fault}. hive reads nothing from it"
        findings.append(Finding(Verdict.FAIL, text, push_repo.remedy(path)))
    if planted := push_move.planted(layout, agent):
        findings.append(Finding(Verdict.FAIL, planted.text, planted.remedy))
    return findings + _size(subject, path) + _locks(subject, path)


def _locks(subject: Subject, path: Path) -> list[Finding]:
    """Report locks of a killed push. A clock that was set forward makes none of them old."""
    now = subject.host.now() - max(0.0, subject.jump())
    try:
        locks = [lock.path for lock in stale_locks.stale(path, now)]
    except OSError:
        return []
    remedy = "the daemon removes it within minutes, `hive doctor --fix` at once, if no process works in the repo"
    fixes = {lock: partial(stale_locks.remove, path, lock, now, subject.host.proc) for lock in locks}
    text = "{} was left by a git that was killed: pushes that need it fail"
    return [Finding(Verdict.FAIL, text.format(lock), remedy, fix) for lock, fix in fixes.items()]


def _size(subject: Subject, path: Path) -> list[Finding]:
    try:
        size = sum(file.size for file in push_objects.read(path))
    except OSError:
        return []
    excess = push_objects.excess(path, size, subject.config)
    return [Finding(Verdict.WARN, *excess)] if excess is not None else []


def _aside(subject: Subject) -> list[Finding]:
    """Report push repos that are not used, also those of agents that were destroyed."""
    layout = subject.layout
    texts = {path: f"{path} is not used: {push_move.reason(path)}" for path in push_move.all_aside(layout)}
    return [Finding(Verdict.WARN, text, push_move.aside_remedy(layout, path)) for path, text in texts.items()]


def _group(subject: Subject, agents: list[AgentName]) -> list[Finding]:
    """Check that members of the group may push, if a group is configured."""
    if not subject.layout.state.is_dir():
        return []
    owner, config = subject.layout.state.stat().st_uid, subject.config
    if fault := push_group.missing(config, owner, subject.host.groups):
        return [Finding(Verdict.WARN, fault, push_group.remedy(config))]
    gid = subject.host.groups(config.push_group)
    if gid is None or not push_group.is_wanted(config, owner):
        return []
    folders = {agent: push_repo.path_of(subject.layout, agent) / "objects" for agent in agents}
    others = [agent for agent, path in folders.items() if (own := _gid(path)) is not None and own != gid]
    if not others:
        return []
    text = (
        f"the push repo of {', '.join(others)} is not of the group {config.push_group}: its members cannot push there"
    )
    return [
        Finding(
            Verdict.WARN,
            text,
            f"move it away ({subject.layout.push_repos}/NAME.git): hive makes it again for the group",
        )
    ]


def _gid(path: Path) -> int | None:
    try:
        return path.lstat().st_gid
    except OSError:
        return None


def _kind(path: Path) -> str | None:
    """Return the kind of a file in a word; None if there is no such file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    kinds = ((stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"), (stat.S_ISLNK, "symlink"), (stat.S_ISFIFO, "pipe"))
    return next((word for test, word in kinds if test(mode)), "special file")
