"""The conversion of an older hive's applied repo into a bare one whose flake only offers the module.

    build     a new repo in scratch, by a fetch from the older one: its refs as refs/hive/older/*, its tags as tags
              a new commit: agent.nix as it was, hive's own flake.nix, no flake.lock, agent.toml if missing
              `main`, refs/hive/seed, `deployed/0` at that commit; what was in flight as failed/, what waited as denied/
              that commit is on the newest `deployed/<id>`: later commits on the older main were not approved
    exchange  `.git` becomes `older.git`, the new repo `.git`; a kill in between leaves no `.git`, see `put_back`
    tidy      `older.git` and the work tree, with an edit that nobody committed, go to `older`

Nothing is removed. git opens the older repo only in a sandbox, since another user may have written its configuration.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from meta.applied import older, older_commit, tags
from meta.applied.older_commit import REMEDY, RESTART, Deployed
from meta.applied.repo import SEED, SEED_ID, Applied
from meta.applied.source import Source, SourceKind
from meta.applied.states import FOLDERS, MAIN, tag_name, tag_ref
from meta.config import Config
from meta.errors import Damaged, NotFound, PermanentError
from meta.git.every_ref import every_ref
from meta.git.message import encode
from meta.git.objects import GitObject, tag
from meta.git.transaction import RefChange
from meta.layout import Layout
from meta.model import DeployKind, TagState
from meta.names import HIVE, AgentName, Sha
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from meta.process.failpoint import hit
from meta.process.recorder import Recorder
from meta.proposed.quarantine.foreign import inspect
from meta.proposed.quarantine.whole import fetch_all

_PLAIN = re.compile(r"refs(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
"""The names that a backup can hold. Refs with others stay in the older repo only."""
_ODD_MOST = 1000
_WAS_IN_FLIGHT = "it was in flight in an older hive when its repo was migrated; propose it again"
_ZERO = (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING, TagState.DEPLOYED)


async def convert(layout: Layout, agent: AgentName, config: Config, recorder: Recorder | None, at: int) -> None:
    """Put the new repo in the place of the older one. Raise Damaged, or another error, before anything is changed."""
    there = Layout(layout.scratch / f"older-{agent}-{secrets.token_hex(4)}", layout.runtime)
    there.applied(agent).mkdir(mode=0o755, parents=True)
    try:
        await _convert(layout.applied(agent), there, agent, config, recorder, at)
    finally:
        await asyncio.to_thread(shutil.rmtree, there.state, ignore_errors=True)


async def _convert(
    folder: Path, there: Layout, agent: AgentName, config: Config, recorder: Recorder | None, at: int
) -> None:
    if os.path.lexists(folder / ".git/shallow"):
        raise Damaged(folder / ".git", "it is a shallow clone", f"run `git fetch --unshallow` there, and {RESTART}")
    marks = recorder.environment() if recorder is not None else {}
    applied = Applied(there, agent, git_environment=marks, deadline=config.git_deadline)
    await applied.repo.init((*FOLDERS, "refs/heads", "refs/hive"))
    before = every_ref(folder / ".git")
    odd = [ref for ref in before if not _PLAIN.fullmatch(ref)]
    if len(odd) > _ODD_MOST:
        raise Damaged(folder / ".git", f"more than {_ODD_MOST} refs have names like {odd[0]!r}", REMEDY)
    try:
        await fetch_all(inspect(folder), applied.repo.path, older.REFS, config, recorder, odd)
    except NotFound as error:
        raise Damaged(folder / ".git", "one of its refs names an object that is missing", REMEDY) from error
    if every_ref(folder / ".git") != before:
        raise Damaged(folder / ".git", "its refs moved during the migration: another hive still works there", REMEDY)
    _compare(folder, {ref: value for ref, value in before.items() if ref not in odd}, every_ref(applied.repo.path))
    new = await _begin(applied, folder, before, at)
    await older_commit.require_buildable(applied, folder, before, new, config, recorder)
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
        raise Damaged(folder / ".git", f"git does not give {name} as it stands there", REMEDY)


async def _begin(applied: Applied, folder: Path, refs: Mapping[str, Sha], at: int) -> Sha:
    """Write the module-only commit, and the refs that hive reads, in one transaction. Return the commit."""
    newest, main = await older_commit.newest_deployed(applied, folder, refs), refs.get(MAIN)
    if main is None:
        name = newest.tag if newest is not None else "COMMIT"
        raise Damaged(folder / ".git", "it has no branch main", f"run `git branch main {name}` there, and {RESTART}")
    new, objects = await older_commit.module_only(applied, folder, newest or Deployed("main", main), main, at)
    changes = [RefChange(MAIN, new=new), RefChange(SEED, new=new)]
    for state in _ZERO:
        written = _tag(applied.agent, state, new, at)
        objects.append(written)
        changes.append(RefChange(tag_ref(state, SEED_ID), new=written.id))
    changes += [RefChange(ref, new=refs[ref]) for ref, (_, id) in older_commit.tags_of(refs).items() if id != SEED_ID]
    await applied.repo.transaction(changes, objects)
    return new


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
