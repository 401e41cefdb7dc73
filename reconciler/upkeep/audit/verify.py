"""`hive audit verify`: the events' chain, the tags and meta's trailers against each other.

Reads only what is on disk, takes no lock and changes nothing, so it runs beside a daemon, without one, and on a copy.
Tags are read before meta and once more after it: what a deploy writes meanwhile is not taken for a breach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

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

_Found = dict[ProposalId, dict[TagState, ReadTag]]


@dataclass(frozen=True, slots=True)
class Heads:
    """Where everything stood: note it elsewhere, and a later audit shows what was taken back since.

    `tags`: the object behind each tag of each agent.
    """

    uuid: str
    event: int
    hash: str
    meta: str
    tags: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. `events`: how many are kept and chained."""

    findings: tuple[Finding, ...]
    approvals: tuple[Approval, ...]
    heads: Heads
    events: int

    @property
    def faults(self) -> int:
        """How many findings are faults."""
        return sum(finding.level == FAULT for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings say that something could not be checked."""
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
    """The heads in the JSON that an earlier audit printed. BadInput when it is none."""
    try:
        read = _Written.model_validate_json(data).heads
    except ValidationError as error:
        raise BadInput("that is no JSON of `hive audit verify --json`", "give the file as it was written") from error
    return Heads(read.uuid, read.event, read.hash, read.meta, read.tags)


@dataclass(slots=True)
class _Repo:
    """One applied repo as it was read."""

    found: _Found = field(default_factory=dict)
    refs: dict[str, Sha] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    seed: Sha | None = None


async def verify(layout: Layout, earlier: Heads | None = None) -> Report:
    """Audit the state directory. `earlier`: the heads of an audit that was noted; NotFound where there is no hive."""
    if not layout.meta_git.is_dir():
        raise NotFound(f"there is no hive in {layout.state}", "point at it with --state")
    record, database = await asyncio.to_thread(_read_events, layout.database, earlier)
    before = await _applied(layout)
    meta = MetaRepo(layout)
    view = await meta.read()
    history, damaged = await _history(meta.repo, view)
    after = await _applied(layout)
    agents = frozenset({*before, *view.desired.agents, *view.desired.tombstones})
    findings = [*database, *_lost(layout.database), *damaged]
    for agent, repo in sorted(before.items()):
        findings += repo.faults
        findings += tag_findings(agent, repo.found, history, agents, repo.seed)
    late = {agent: repo.found for agent, repo in after.items()}
    findings += meta_findings(late, history)
    if record is not None:
        findings += event_findings(record.decisions, late)
    if earlier is not None:
        findings += _since(earlier, record, before, view)
    chain = record.chain if record is not None else None
    return Report(
        tuple(findings),
        tuple(approval for agent, repo in sorted(before.items()) for approval in approvals(agent, repo.found)),
        Heads(
            chain.uuid if chain else "",
            chain.last if chain else 0,
            chain.head if chain else "",
            view.desired.head,
            {agent: dict(sorted(repo.refs.items())) for agent, repo in sorted(before.items())},
        ),
        chain.last + 1 - chain.first if chain and chain.chained else 0,
    )


def _read_events(path: Path, earlier: Heads | None) -> tuple[Record | None, list[Finding]]:
    """What the database says, and what is wrong with it by itself."""
    try:
        record = offline.read_events(path, earlier.event if earlier else None)
    except NotFound:
        return None, [Finding(NOTE, "no-database", None, None, "there is no database: no event is checked")]
    except PermanentError as error:
        return None, [Finding(FAULT, "database", None, None, error.summary)]
    if record.chain.broken is not None:
        return record, [Finding(FAULT, "chain", None, record.chain.broken[0], record.chain.broken[1])]
    if not record.chain.chained:
        text = "the events are not chained yet: the next start of the daemon does that"
        return record, [Finding(NOTE, "unchained", None, None, text)]
    return record, []


def _lost(path: Path) -> list[Finding]:
    """What a damaged database said is not in the chain of the new one, which is sound all the same."""
    warning = damaged.describe(path)
    if not warning:
        return []
    return [Finding(WARNING, "set-aside", None, None, f"{warning}, so they are not checked; {damaged.REMEDY}")]


async def _applied(layout: Layout) -> dict[AgentName, _Repo]:
    found: dict[AgentName, _Repo] = {}
    folder = layout.state / "applied"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path / ".git").is_dir():
            try:
                name = agent_name(path.name)
            except HiveError:
                continue  # what else lies there is none of hive's
            found[name] = await _read(name, GitRepo(path / ".git"))
    return found


async def _read(agent: AgentName, repo: GitRepo) -> _Repo:
    """The tags of one repo; one that is damaged or not as hive writes them is a fault."""
    read = _Repo(refs=repo.refs(FOLDERS), seed=repo.ref(SEED))
    objects = await repo.objects(set(read.refs.values()))
    for ref, name in sorted(read.refs.items()):
        parsed = parse(ref)
        if parsed is None:
            continue
        state, id = parsed
        tag, fault = _tag(state, id, name, objects.get(name))
        if fault:
            read.faults.append(Finding(FAULT, "damaged", agent, id, f"{state}/{id} {fault}"))
        if tag is not None:
            read.found.setdefault(id, {})[state] = tag
    return read


def _tag(state: TagState, id: ProposalId, name: Sha, item: GitObject | None) -> tuple[ReadTag | None, str]:
    if item is None:
        return None, "points at an object that is not there"
    if item.id != name:
        return None, "points at an object whose content was changed"
    try:
        tag = read_tag(state, id, name, {name: item})
    except (KeyError, ValueError):
        return None, "is no tag of a commit"
    if item.kind != "tag":
        return tag, "is no annotated tag: made by hand"
    return tag, "" if tag is not None else "is no tag of a commit"


async def _history(repo: GitRepo, view: MetaView) -> tuple[History, list[Finding]]:
    """Meta's commits, each checked to be what its name says."""
    log = await repo.log(view.desired.head)
    objects = await repo.objects(commit.sha for commit in log)
    entries: dict[Sha, LogEntry] = {commit.sha: log_entry(commit) for commit in log}
    changed = [sha for sha in entries if sha not in objects or objects[sha].id != sha]
    findings = [Finding(FAULT, "damaged", None, None, f"meta commit {sha[:12]} was changed") for sha in changed]
    disowned = {name: grave.disowned for name, grave in view.desired.tombstones.items()}
    disowned |= {name: entry.disowned for name, entry in view.desired.agents.items()}
    purging = frozenset(name for name, grave in view.desired.tombstones.items() if grave.purge)
    return History(entries, disowned, view.committed, purging), findings


def _since(earlier: Heads, record: Record | None, repos: Mapping[AgentName, _Repo], view: MetaView) -> list[Finding]:
    """What an earlier audit saw and is not so any more."""
    findings = []
    if record is not None and earlier.uuid == record.chain.uuid:
        pruned = earlier.event < record.chain.first - 1
        if not pruned and earlier.event > 0 and record.hash != earlier.hash:
            text = f"event {earlier.event} is not what it was at the earlier audit"
            findings.append(Finding(FAULT, "rewritten", None, earlier.event, text))
    elif earlier.uuid:
        findings.append(Finding(FAULT, "rewritten", None, None, "the database is another than at the earlier audit"))
    if earlier.meta not in view.history:
        text = f"meta commit {earlier.meta[:12]} of the earlier audit is not in main any more"
        findings.append(Finding(FAULT, "rewritten", None, None, text))
    for agent, refs in sorted(earlier.tags.items()):
        now = repos[AgentName(agent)].refs if AgentName(agent) in repos else None
        if now is None:
            findings.append(Finding(NOTE, "gone", agent, None, "its tags are gone since the earlier audit (purged?)"))
            continue
        lost = [ref for ref, name in refs.items() if now.get(ref) != name]
        findings += [
            Finding(FAULT, "rewritten", agent, None, f"{ref.removeprefix('refs/tags/')} was moved or removed since")
            for ref in lost
        ]
    return findings
