"""`hive audit verify`: compare the chain of events, the tags and meta's trailers with each other.

The audit reads only files, takes no lock and changes nothing, so it runs beside a daemon, without one, and on a copy.
It reads the tags before meta and again after it, so that a deploy in between is not reported as a fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from meta.applied import older
from meta.applied.repo import SEED
from meta.applied.states import FOLDERS, parse
from meta.applied.tags import ReadTag, read_tag
from meta.desired.repo import MetaRepo
from meta.desired.view import LogEntry, MetaView, log_entry
from meta.errors import BadInput, HiveError, NotFound, PermanentError
from meta.git.objects import GitObject
from meta.git.repo import GitRepo
from meta.layout import Layout
from meta.model import TagState
from meta.names import AgentName, ProposalId, Sha, agent_name
from reconciler.store import damaged, offline
from reconciler.store.offline import Record
from reconciler.upkeep.audit.grants import Answer, Grant, answers_of, grant_findings, read_grants
from reconciler.upkeep.audit.passkeys import known_passkeys, passkey_findings
from reconciler.upkeep.audit.rules import (
    FAULT,
    NOTE,
    WARNING,
    Approval,
    Finding,
    History,
    approvals,
    event_findings,
    meta_findings,
    tag_findings,
)
from reconciler.upkeep.audit.touches import touch_findings

_Tags = dict[ProposalId, dict[TagState, ReadTag]]


@dataclass(frozen=True, slots=True)
class Heads:
    """The newest event, meta commit and tags. If they are stored elsewhere, a later audit can show what was taken back.

    `tags`: the object of each tag of each agent.
    """

    uuid: str
    event: int
    hash: str
    meta: str
    tags: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit. `events`: how many events are kept and chained. `grants`: hosts allowed for a time.

    `answers`: requests for hosts that were answered without a grant, as far back as the events go.
    """

    findings: tuple[Finding, ...]
    approvals: tuple[Approval, ...]
    heads: Heads
    events: int
    grants: tuple[Grant, ...] = ()
    answers: tuple[Answer, ...] = ()

    @property
    def faults(self) -> int:
        """The number of findings that are faults."""
        return sum(finding.level == FAULT for finding in self.findings)

    @property
    def warnings(self) -> int:
        """The number of findings about something that could not be checked."""
        return sum(finding.level == WARNING for finding in self.findings)


class _Heads(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    uuid: str
    event: int
    hash: str
    meta: str
    tags: dict[str, dict[str, str]]


class _Written(BaseModel):
    heads: _Heads


def heads_from(data: bytes) -> Heads:
    """Return the heads in the JSON of an earlier audit. Raise BadInput for other input."""
    try:
        heads = _Written.model_validate_json(data).heads
    except ValidationError as error:
        raise BadInput("that is not the JSON of `hive audit verify --json`", "give the unchanged file") from error
    return Heads(heads.uuid, heads.event, heads.hash, heads.meta, heads.tags)


@dataclass(slots=True)
class _Repo:
    """The tags of one applied repo, and the faults in it."""

    tags: _Tags = field(default_factory=dict)
    refs: dict[str, Sha] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    seed: Sha | None = None
    older: frozenset[ProposalId] = frozenset()


async def verify(layout: Layout, earlier: Heads | None = None) -> Report:
    """Audit the state directory. `earlier`: the heads of a previous audit. Raise NotFound if there is no hive."""
    if not layout.meta_git.is_dir():
        raise NotFound(f"there is no hive in {layout.state}", "name its directory with --state")
    record, database = await asyncio.to_thread(_read_events, layout.database, earlier)
    before = await _read_repos(layout)
    meta = MetaRepo(layout)
    view = await meta.read()
    history, damaged_commits = await _history(meta.repo, view)
    late = {agent: repo.tags for agent, repo in (await _read_repos(layout)).items()}
    agents = frozenset({*before, *view.desired.agents, *view.desired.tombstones})
    findings = [*database, *_set_aside(layout.database), *damaged_commits]
    for agent, repo in before.items():
        findings += repo.faults
        findings += tag_findings(agent, repo.tags, history, agents, repo.seed, repo.older)
    findings += meta_findings(late, history)
    if record is not None:
        findings += event_findings(record.decisions, late)
        findings += passkey_findings(record.passkeys, record.registrations, record.since)
    known = known_passkeys(record.chain.uuid, record.passkeys, record.registrations) if record is not None else None
    touches = {agent: repo.tags for agent, repo in before.items()}
    findings += await asyncio.to_thread(lambda: list(touch_findings(touches, known)))
    grants = await read_grants(meta.repo)
    findings += grant_findings(view.desired.run, grants)
    if earlier is not None:
        findings += _since(earlier, record, before, view)
    return Report(
        tuple(findings),
        tuple(approval for agent, repo in before.items() for approval in approvals(agent, repo.tags)),
        _heads(record, before, view),
        record.chain.last + 1 - record.chain.first if record is not None and record.chain.chained else 0,
        grants,
        answers_of(record.requests) if record is not None else (),
    )


def _heads(record: Record | None, repos: Mapping[AgentName, _Repo], view: MetaView) -> Heads:
    tags: dict[str, dict[str, str]] = {agent: dict(sorted(repo.refs.items())) for agent, repo in repos.items()}
    if record is None:
        return Heads("", 0, "", view.desired.head, tags)
    return Heads(record.chain.uuid, record.chain.last, record.chain.head, view.desired.head, tags)


def _read_events(path: Path, earlier: Heads | None) -> tuple[Record | None, list[Finding]]:
    """Return the record of the database, and the faults of its chain."""
    try:
        record = offline.read_events(path, earlier.event if earlier else None)
    except NotFound:
        return None, [Finding(NOTE, "no-database", None, None, "there is no database, so no event is checked")]
    except PermanentError as error:
        return None, [Finding(FAULT, "database", None, None, error.summary)]
    if record.chain.broken is not None:
        return record, [Finding(FAULT, "chain", None, record.chain.broken[0], record.chain.broken[1])]
    if not record.chain.chained:
        text = "the events are not chained yet: the next start of the daemon chains them"
        return record, [Finding(NOTE, "unchained", None, None, text)]
    return record, []


def _set_aside(path: Path) -> list[Finding]:
    """Report a damaged database. Its events are not in the chain of the new one, which is sound without them."""
    warning = damaged.describe(path)
    if not warning:
        return []
    return [Finding(WARNING, "set-aside", None, None, f"{warning}, so they are not checked; {damaged.REMEDY}")]


async def _read_repos(layout: Layout) -> dict[AgentName, _Repo]:
    """Read every applied repo, sorted by agent."""
    repos: dict[AgentName, _Repo] = {}
    folder = layout.state / "applied"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path / ".git").is_dir():
            try:
                name = agent_name(path.name)
            except HiveError:
                continue  # hive made no other entries there
            if older.is_older(path):
                text = "its repo is one of an older hive, and not migrated: nothing in it is checked"
                repos[name] = _Repo(faults=[Finding(WARNING, "older", name, None, text)])
                continue
            repos[name] = await _read_repo(name, GitRepo(path / ".git"))
    return repos


async def _read_repo(agent: AgentName, repo: GitRepo) -> _Repo:
    """Read the tags of one repo. A tag that is damaged, or not as hive writes it, is a fault."""
    result = _Repo(refs=repo.refs(FOLDERS), seed=repo.ref(SEED), older=older.ids(repo.refs(older.TAGS)))
    objects = await repo.objects(set(result.refs.values()))
    for ref, name in sorted(result.refs.items()):
        parsed = parse(ref)
        if parsed is None:
            continue
        state, id = parsed
        tag, fault = _tag(state, id, name, objects.get(name))
        if fault and id not in result.older:
            result.faults.append(Finding(FAULT, "damaged", agent, id, f"{state}/{id} {fault}"))
        if tag is not None:
            result.tags.setdefault(id, {})[state] = tag
    return result


def _tag(state: TagState, id: ProposalId, name: Sha, item: GitObject | None) -> tuple[ReadTag | None, str]:
    if item is None:
        return None, "points at an object that does not exist"
    if item.id != name:
        return None, "points at an object whose content was changed"
    try:
        tag = read_tag(state, id, name, {name: item})
    except (KeyError, ValueError):
        return None, "is not a tag of a commit"
    if item.kind != "tag":
        return tag, "is not an annotated tag: it was made by hand"
    return tag, "" if tag is not None else "is not a tag of a commit"


async def _history(repo: GitRepo, view: MetaView) -> tuple[History, list[Finding]]:
    """Read the commits of meta, and report those whose content does not match their name."""
    log = await repo.log(view.desired.head)
    objects = await repo.objects(commit.sha for commit in log)
    entries: dict[Sha, LogEntry] = {commit.sha: log_entry(commit) for commit in log}
    changed = [sha for sha in entries if sha not in objects or objects[sha].id != sha]
    findings = [Finding(FAULT, "damaged", None, None, f"meta commit {sha[:12]} was changed") for sha in changed]
    disowned = {name: grave.disowned for name, grave in view.desired.tombstones.items()}
    disowned |= {name: entry.disowned for name, entry in view.desired.agents.items()}
    purging = frozenset(name for name, grave in view.desired.tombstones.items() if grave.purge)
    return History(entries, disowned, view.committed, purging), findings


def _since(
    earlier: Heads, record: Record | None, repos: Mapping[AgentName, _Repo], view: MetaView
) -> Iterator[Finding]:
    """Report heads of an earlier audit that are different or missing now."""
    if record is not None and earlier.uuid == record.chain.uuid:
        pruned = earlier.event < record.chain.first - 1
        if not pruned and earlier.event > 0 and record.hash != earlier.hash:
            text = f"event {earlier.event} is not the one of the earlier audit"
            yield Finding(FAULT, "rewritten", None, earlier.event, text)
    elif earlier.uuid:
        yield Finding(FAULT, "rewritten", None, None, "the database is not the one of the earlier audit")
    if earlier.meta not in view.history:
        text = f"meta commit {earlier.meta[:12]} of the earlier audit is not in main any more"
        yield Finding(FAULT, "rewritten", None, None, text)
    for agent, refs in sorted(earlier.tags.items()):
        repo = repos.get(AgentName(agent))
        if repo is None:
            text = "its tags were removed since the earlier audit (by a purge?)"
            yield Finding(NOTE, "gone", agent, None, text)
        else:
            yield from _tags_since(agent, refs, repo)


def _tags_since(agent: str, refs: Mapping[str, str], repo: _Repo) -> Iterator[Finding]:
    for ref, name in refs.items():
        if repo.refs.get(ref) != name and not _dropped(ref, name, repo):
            text = f"{ref.removeprefix('refs/tags/')} was moved or removed since the earlier audit"
            yield Finding(FAULT, "rewritten", agent, None, text)


def _dropped(ref: str, name: str, repo: _Repo) -> bool:
    """Return True if a denial took the place of the proposal's tag, and names it."""
    parsed = parse(ref)
    if parsed is None or parsed[0] is not TagState.PROPOSAL or ref in repo.refs:
        return False
    denied = repo.tags.get(parsed[1], {}).get(TagState.DENIED)
    return denied is not None and denied.proposal is not None and denied.proposal.object == name
