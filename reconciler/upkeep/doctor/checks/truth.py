"""Checks of the record: meta holds what is desired, the tags are the log of each id, the database repeats both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from meta import own_file
from meta.applied import older
from meta.applied.states import FOLDERS, PATHS, parse
from meta.desired.repo import MetaView
from meta.errors import BadInput, Damaged, HiveError
from meta.git.damage import Hurt, examine_refs
from meta.git.files import read_ref
from meta.git.repo import GitRepo
from meta.model import Deploy, TagState
from meta.names import AgentName, ProposalId, agent_name
from meta.process.run import run
from meta.text import one_line
from reconciler.plan.contradiction import contradicts_meta
from reconciler.store import damaged
from reconciler.store.offline import Contents, read_contents
from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, names_in, ok

FSCK_SECONDS = 300.0
FSCKS = 2
"""Repos that are checked at the same time."""
_PIPE = "do what the check `damage` says of it; without a remedy there, remove it and take that file from a backup"
_BACKUP = "stop the daemon and restore that repo from a backup (docs/reference/persistence.md): there is no other copy"


async def meta(subject: Subject) -> list[Finding]:
    """Check that meta can be read, and that the commits that it pins exist."""
    if not subject.exists:
        return ok("there is no hive yet")
    try:
        view = await subject.read_meta()
    except HiveError as error:
        return [Finding(Verdict.FAIL, error.summary, error.hint or _BACKUP)]
    findings, repos = [], set(subject.repos())
    for agent, entry in view.desired.agents.items():
        if agent not in repos:
            text = f"meta has the agent {agent}, but there is no applied repo of it"
            findings.append(
                Finding(Verdict.FAIL, text, f"restore applied/{agent} from a backup, or `hive destroy {agent}`")
            )
        elif not await _pinned(subject, agent, entry.pin.id, entry.pin.sha):
            text = f"meta pins {agent} to {entry.pin.id} ({entry.pin.sha[:12]}), which is not in its applied repo"
            findings.append(
                Finding(Verdict.FAIL, text, f"restore applied/{agent}, or meta, from a backup of the same time")
            )
    return findings or ok(f"{len(view.desired.agents)} agents at {view.desired.head[:12]}")


async def _pinned(subject: Subject, agent: AgentName, id: ProposalId, sha: str) -> bool:
    """Return True if the agent has that deploy, and if nobody can know, because its tags cannot be read."""
    deploys = await _deploys(subject, agent)
    return deploys is None or any(deploy.id == id and deploy.sha == sha for deploy in deploys)


async def fsck(subject: Subject) -> list[Finding]:
    """Run `git fsck` in every repo of hive's own."""
    layout = subject.layout
    repos = [layout.meta_git, *map(layout.applied_git, subject.repos())] if subject.exists else []
    slots = asyncio.Semaphore(FSCKS)
    reasons = older.reasons(layout.migration)
    migrated = [agent for agent in subject.repos() if _is_migrated(layout.applied_git(agent))] if subject.exists else []

    async def one(repo: GitRepo) -> list[Finding]:
        if older.is_older(repo.path.parent):
            return [_older(repo.path.parent, reasons)]
        if not repo.present():
            return [
                Finding(Verdict.FAIL, f"{repo.path} is not a complete repo of hive (or its config was edited)", _BACKUP)
            ]
        pipe = await asyncio.to_thread(_pipe_in, repo.path)
        if pipe is not None:
            return [Finding(Verdict.FAIL, f"{pipe} is no file: git waits for it for ever", _PIPE)]
        async with slots:
            argv = ["git", "fsck", "--full", "--no-dangling", "--no-progress"]
            done = await run(argv, deadline=FSCK_SECONDS, env=_environment(repo), check=False)
        if done.code == 0:
            return []
        lines = (done.text or done.stderr_tail).strip().splitlines() or [f"exit code {done.code}"]
        return [Finding(Verdict.FAIL, f"git fsck in {repo.path}: {one_line(lines[0], 200)}", _BACKUP)]

    answers = await asyncio.gather(*(one(GitRepo(path)) for path in repos))
    findings = [finding for answer in answers for finding in answer] or ok(f"{len(repos)} repos are sound")
    for agent, why in reasons.items():
        if not older.is_older(layout.applied_repos / agent):
            text = f"the migration of {agent} is not at its end: {why.text}"
            findings.append(Finding(Verdict.WARN, text, why.remedy))
    findings += _misnamed(layout.applied_repos)
    if migrated:
        names = ", ".join(migrated)
        findings += ok(f"migrated from an older hive: {names}; its files are in applied/<n>/{older.KEPT}")
    return findings


def _older(folder: Path, reasons: Mapping[str, older.Reason]) -> Finding:
    text = f"{folder} has the layout of an older hive, and its agent is held as it is"
    why = reasons.get(folder.name)
    return Finding(Verdict.FAIL, f"{text}: {why.text}" if why else text, why.remedy if why else older.REMEDY)


def _misnamed(folder: Path) -> list[Finding]:
    """Report agents of an older hive whose name no agent of this one may have."""
    findings = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            agent_name(path.name)
        except BadInput as error:
            if older.is_older(path):
                text = f"{path} is of an older hive and is not migrated: {error.summary}"
                findings.append(Finding(Verdict.WARN, text, f"rename it, and restart the daemon; {error.hint}"))
    return findings


def _is_migrated(git_dir: Path) -> bool:
    try:
        return read_ref(git_dir, older.MARKER) is not None
    except HiveError:  # the check `damage` reports it
        return False


def _pipe_in(git_dir: Path) -> Path | None:
    """Return a file of a repo that is a pipe, a socket or a device."""
    for folder, _, names in os.walk(git_dir):
        for name in names:
            path = Path(folder, name)
            if not own_file.is_regular(path) and not path.is_symlink() and path.exists():
                return path
    return None


def _environment(repo: GitRepo) -> dict[str, str]:
    """Return an environment in which git reads no configuration but the repo's own."""
    nothing = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_NO_REPLACE_OBJECTS": "1"}
    return {"GIT_DIR": str(repo.path), **nothing, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


async def damage(subject: Subject) -> list[Finding]:
    """Check that every ref of hive's repos can be read, and that every tag has its object."""
    layout = subject.layout
    names = names_in(layout.state / "applied")  # also what stands in the place of a repo
    agents = [agent for agent in names if not older.is_older(layout.applied(agent))]  # the check `fsck` reports those
    repos = [layout.meta_git, *map(layout.applied_git, agents)] if subject.exists else []
    hurt: list[Hurt] = []
    for path in repos:
        try:
            hurt += await asyncio.to_thread(examine_refs, path, meta=path == layout.meta_git)
        except Damaged as error:  # an object that a remedy depends on
            hurt.append(Hurt(error.summary))
    return [Finding(Verdict.FAIL, each.text, each.remedy or _BACKUP) for each in hurt] or ok("every ref can be read")


async def tags(subject: Subject) -> list[Finding]:
    """Check that the tags of each id are a possible history, and agree with meta's commits."""
    view = await subject.view()
    findings = []
    for agent in subject.repos() if view is not None else ():
        if view is not None:
            findings += _rivals(subject, agent)
            deploys = await _deploys(subject, agent)
            findings += [_contradiction(deploy) for deploy in deploys or () if _contradicts(deploy, view)]
    return findings or ok("tags and meta agree")


async def _deploys(subject: Subject, agent: AgentName) -> tuple[Deploy, ...] | None:
    """Return the agent's deploys; None if its tags cannot be read, which the checks `damage` and `fsck` report."""
    try:
        return await subject.applied(agent).deploys()
    except HiveError:
        return None


def _rivals(subject: Subject, agent: AgentName) -> list[Finding]:
    """Report ids with two ends. No transition of hive makes these."""
    states: dict[ProposalId, set[TagState]] = {}
    try:
        refs = subject.applied(agent).repo.refs(FOLDERS)
    except HiveError:  # the check `damage` reports it
        return []
    for ref in refs:
        parsed = parse(ref)
        if parsed is not None:
            states.setdefault(parsed[1], set()).add(parsed[0])
    findings = []
    for id, present in sorted(states.items()):
        ends = sorted(state for state in present if state.terminal)
        if len(ends) > 1 or (TagState.DENIED in present and TagState.APPROVED in present):
            words = ", ".join(f"{state}/{id}" for state in sorted(present - set(PATHS[TagState.PROPOSAL])))
            text = f"{agent} has {words}: only one can be true"
            remedy = f"see `hive log`; delete the wrong tag in {subject.layout.applied_git(agent)} by hand"
            findings.append(Finding(Verdict.FAIL, text, remedy))
    return findings


def _contradicts(deploy: Deploy, view: MetaView) -> bool:
    """Return True if its tags and meta contradict each other, and `hive adopt` has not settled that."""
    entry = view.desired.agents.get(deploy.agent)
    grave = view.desired.tombstones.get(deploy.agent)
    disowned = (entry.disowned if entry else frozenset()) | (grave.disowned if grave else frozenset())
    return deploy.id not in disowned and contradicts_meta(deploy, history=view.history, committed=view.committed)


def _contradiction(deploy: Deploy) -> Finding:
    if deploy.state is TagState.DEPLOYED:
        text = f"{deploy.agent}: deployed/{deploy.id} names a meta commit that is not in main"
    else:
        text = f"{deploy.agent}: {deploy.state}/{deploy.id} exists, but meta has its commit"
    remedy = (
        f"`hive adopt {deploy.agent} --running` keeps the running commit, `--meta` returns to the one that meta pins"
    )
    return Finding(Verdict.FAIL, text, remedy)


async def database(subject: Subject) -> list[Finding]:
    """Check that the database is sound and of a known schema, and that its cards agree with the tags."""
    path = subject.layout.database
    if not path.is_file():
        missing = subject.exists and subject.held
        remedy = "restart the daemon: it rebuilds the cards from the tags; messages and events are lost"
        return (
            [Finding(Verdict.FAIL, f"{path} is missing while a daemon has it open", remedy)]
            if missing
            else ok("none yet")
        )
    contents = await asyncio.to_thread(read_contents, path)
    if contents.fault:
        remedy = "restart the daemon: it moves the file aside and rebuilds the cards from the tags; messages are lost"
        return [Finding(Verdict.FAIL, f"{path}: {contents.fault}", remedy)]
    if contents.version > contents.known:
        text = f"{path} was written by a newer hive (schema {contents.version}, this one knows {contents.known})"
        remedy = (
            "install that hive again, put back a backup of before it (`hive restore BACKUP --only database`), or move "
            "the file away: messages and events are then lost; docs/howto/upgrade.md has each"
        )
        return [Finding(Verdict.FAIL, text, remedy)]
    return _set_aside(subject) + await _cards(subject, contents) or ok(f"sound, schema {contents.version}")


def _set_aside(subject: Subject) -> list[Finding]:
    """Report a damaged database of earlier that still lies beside the new one."""
    warning = damaged.describe(subject.layout.database)
    return [Finding(Verdict.WARN, warning, damaged.REMEDY)] if warning else []


async def _cards(subject: Subject, contents: Contents) -> list[Finding]:
    findings = []
    for agent in sorted({*contents.cards, *subject.repos()}):
        behind = await _behind(subject, agent, contents)
        if not behind:
            continue
        stamp = subject.applied(agent).stamp()
        if contents.stamps.get(agent) != stamp:
            text = f"the cards of {agent} are behind its tags ({behind})"
            remedy = f"`hive reconcile {agent}`" if subject.held else "a start of the daemon brings them up to date"
            findings.append(Finding(Verdict.WARN, text, remedy))
        elif await _behind(subject, agent, await asyncio.to_thread(read_contents, subject.layout.database)):
            text = f"the cards of {agent} do not agree with its tags ({behind}), and the daemon does not notice that"
            remedy = (
                f"stop the daemon, move {subject.layout.database} away, start it: messages and events are then lost"
            )
            findings.append(Finding(Verdict.FAIL, text, remedy))
    return findings


async def _behind(subject: Subject, agent: AgentName, contents: Contents) -> str:
    """Describe the ids that differ between cards and tags. Return "" if none does, or if the tags cannot be read."""
    cards: Mapping[ProposalId, str] = contents.cards.get(agent, {})
    deploys = await _deploys(subject, agent)
    if deploys is None:
        return ""
    tagged = {deploy.id: str(deploy.state) for deploy in deploys}
    differ = sorted(id for id in {*cards, *tagged} if cards.get(id) != tagged.get(id))
    shown = [f"{id}: card {cards.get(id, 'missing')}, tag {tagged.get(id, 'missing')}" for id in differ[:3]]
    return "; ".join(shown) + ("; ..." if len(differ) > len(shown) else "")
