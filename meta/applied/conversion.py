"""The conversion of an older hive's applied repo into a bare one whose flake only offers the module.

    build     a new repo in scratch, by a fetch from the older one: its refs as refs/hive/older/*, its tags as tags
              the commit on its `main`: agent.nix as it was, hive's own flake.nix, no flake.lock, agent.toml if missing
              `main`, refs/hive/seed, `deployed/0` at that commit; what was in flight as failed/, what waited as denied/
    exchange  `.git` becomes `older.git`, the new repo `.git`; a kill in between leaves no `.git`, see `put_back`
    tidy      `older.git` and the work tree, with an edit that nobody committed, go to `older`

Nothing is removed. git opens the older repo only in a sandbox, since another user may have written its configuration.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from meta.agent_toml import seed
from meta.applied import older, tags
from meta.applied.repo import SEED, SEED_ID, Applied
from meta.applied.source import Source, SourceKind
from meta.applied.states import FOLDERS, MAIN, TAGS, parse, tag_name, tag_ref
from meta.config import Config
from meta.errors import Damaged, PermanentError
from meta.git.every_ref import every_ref
from meta.git.message import encode
from meta.git.objects import FILE, GitObject, TreeEntry, blob, commit, decode_commit, decode_tree, tag, tree
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.model import DeployKind, Role, TagState
from meta.names import HIVE, MANAGER, OLDER_ID_LIMIT, AgentName, Sha
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from meta.process.failpoint import hit
from meta.process.recorder import Recorder
from meta.proposed.quarantine.foreign import inspect
from meta.proposed.quarantine.whole import fetch_all

_LOCK, _MODULE = b"flake.lock", b"agent.nix"
_PLAIN = re.compile(r"refs(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
"""The names that a backup can hold. Refs with others stay in the older repo only."""
_ODD_MOST = 1000
_WAS_IN_FLIGHT = "it was in flight in an older hive when its repo was migrated; propose it again"
_ZERO = (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING, TagState.DEPLOYED)
_REMEDY = "look at it with `git fsck`, repair it, and restart the daemon: it migrates the agent then"


async def convert(layout: Layout, agent: AgentName, config: Config, recorder: Recorder | None, at: int) -> None:
    """Put the new repo in the place of the older one. Raise Damaged, or another error, before anything is changed."""
    folder = layout.applied(agent)
    there = Layout(layout.scratch / f"older-{agent}-{secrets.token_hex(4)}", layout.runtime)
    there.applied(agent).mkdir(mode=0o755, parents=True)
    marks = recorder.environment() if recorder is not None else {}
    applied = Applied(there, agent, git_environment=marks, deadline=config.git_deadline)
    await applied.repo.init((*FOLDERS, "refs/heads", "refs/hive"))
    before = every_ref(folder / ".git")
    odd = [ref for ref in before if not _PLAIN.fullmatch(ref)]
    if len(odd) > _ODD_MOST:
        raise Damaged(folder / ".git", f"more than {_ODD_MOST} refs have names like {odd[0]!r}", _REMEDY)
    await fetch_all(inspect(folder), applied.repo.path, older.REFS, config, recorder, odd)
    if every_ref(folder / ".git") != before:
        raise Damaged(folder / ".git", "its refs moved during the migration: another hive still works there", _REMEDY)
    _compare(folder, {ref: value for ref, value in before.items() if ref not in odd}, every_ref(applied.repo.path))
    await _begin(applied, folder, before, at)
    for deploy in await applied.deploys():
        if not deploy.state.terminal:
            end = TagState.DENIED if deploy.state is TagState.PROPOSAL else TagState.FAILED
            await applied.transition(deploy.id, end, by=HIVE, reason=_WAS_IN_FLIGHT, at=at)
    _exchange(folder, applied.repo.path)


def put_back(folder: Path) -> None:
    """Give the older repo its name back, if a kill cut the exchange."""
    if not os.path.lexists(folder / ".git"):
        _rename(folder / older.TAKEN, folder / ".git")


def tidy(folder: Path) -> None:
    """Move what is not the new repo to `older`: the work tree, and the older repo last."""
    kept = folder / older.KEPT
    try:
        kept.mkdir(mode=0o755, exist_ok=True)
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError as error:
        raise disk_error(f"cannot tidy {folder}", error) from error
    for name in names:
        if name not in (".git", older.KEPT, older.TAKEN):
            _rename(folder / name, kept / name)
            hit("migrate-tidy:moved")
    if older.TAKEN in names:
        _rename(folder / older.TAKEN, kept / ".git")


def _compare(folder: Path, before: Mapping[str, Sha], fetched: Mapping[str, Sha]) -> None:
    """Raise Damaged unless every ref of the older repo came with its value."""
    wanted = {f"{older.REFS}/{ref.removeprefix('refs/')}": value for ref, value in before.items()}
    differ = sorted(ref for ref in {*wanted, *fetched} if wanted.get(ref) != fetched.get(ref))
    if differ:
        name = differ[0].replace(older.REFS, "refs", 1)
        raise Damaged(folder / ".git", f"git does not give {name} as it stands there", _REMEDY)


async def _begin(applied: Applied, folder: Path, refs: Mapping[str, Sha], at: int) -> None:
    """Write the module-only commit, and the refs that hive reads, in one transaction."""
    main = refs.get(MAIN)
    if main is None:
        raise Damaged(folder / ".git", "it has no branch main, so that hive cannot know what was deployed", _REMEDY)
    new, objects = await _module_only(applied, folder, main, at)
    changes = [RefChange(MAIN, new=new), RefChange(SEED, new=new)]
    for state in _ZERO:
        written = _tag(applied.agent, state, new, at)
        objects.append(written)
        changes.append(RefChange(tag_ref(state, SEED_ID), new=written.id))
    for ref, value in refs.items():
        parsed = parse(ref.removeprefix(TAGS)) if ref.startswith(TAGS) else None
        if parsed is not None and SEED_ID < parsed[1] < OLDER_ID_LIMIT:
            changes.append(RefChange(ref, new=value))
    await applied.repo.transaction(changes, objects)


async def _module_only(applied: Applied, folder: Path, main: Sha, at: int) -> tuple[Sha, list[GitObject]]:
    agent = applied.agent
    root = decode_commit(main, (await _object(applied, folder, main)).data).tree
    entries = {entry.name: entry for entry in decode_tree((await _object(applied, folder, root)).data)}
    if _MODULE not in entries:
        raise Damaged(folder / ".git", f"the commit {main[:12]} on its main has no agent.nix", _REMEDY)
    files = seed.files(agent, Role.MANAGER if agent == MANAGER else Role.AGENT)
    wanted = {
        name.encode(): data for name, data in files.items() if name.encode() not in entries or name == "flake.nix"
    }
    blobs = {name: blob(data) for name, data in wanted.items()}
    kept = [entry for name, entry in entries.items() if name not in (_LOCK, *blobs)]
    top = tree([*kept, *(TreeEntry(FILE, name, item.id) for name, item in blobs.items())])
    text = "agent.nix is what it was. The flake only offers it as a module; meta makes the system of it."
    change = commit(top.id, (main,), encode("migrate from an older hive", text), at)
    return change.id, [*blobs.values(), top, change]


async def _object(applied: Applied, folder: Path, name: Sha) -> GitObject:
    item = (await applied.repo.objects([name])).get(name)
    if item is None:
        raise Damaged(folder / ".git", f"its object {name} is missing", _REMEDY)
    return item


def _tag(agent: AgentName, state: TagState, sha: Sha, at: int) -> GitObject:
    trailers = {tags.ID: str(SEED_ID), tags.AGENT: agent, tags.BY: HIVE}
    if state is TagState.PROPOSAL:
        trailers |= {tags.KIND: str(DeployKind.SPAWN), tags.SOURCE: str(Source.of(SourceKind.OLDER))}
    if state is TagState.APPROVED:
        trailers |= {tags.SEEN: sha}
    text = "what an older hive had deployed" if state is TagState.PROPOSAL else ""
    return tag(tag_name(state, SEED_ID), sha, encode(f"{state} {SEED_ID}", text, trailers), at)


def _exchange(folder: Path, new: Path) -> None:
    if os.path.lexists(folder / older.TAKEN):
        raise PermanentError(f"{folder / older.TAKEN} is in the way", "move it aside, and restart the daemon")
    hit("migrate-exchange:before")
    _rename(folder / ".git", folder / older.TAKEN)
    hit("migrate-exchange:taken")
    _rename(new, folder / ".git")
    hit("migrate-exchange:after")


def _rename(source: Path, target: Path) -> None:
    """Rename durably, and never over something else."""
    if os.path.lexists(target):
        raise PermanentError(f"{target} is in the way of {source}", "move it aside, and restart the daemon")
    try:
        source.rename(target)
        sync_folder(target.parent)
        if source.parent != target.parent:
            sync_folder(source.parent)
    except OSError as error:
        raise disk_error(f"cannot rename {source} to {target}", error) from error
