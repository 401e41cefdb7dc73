"""Replay the commits of a stale proposal onto the newest deployed commit, as `git rebase` would, without a work tree.

It happens in a throw-away repo that borrows the applied repo's objects. For each commit `git merge-tree` merges the
trees (no hook, no attribute's program, no work tree); hive writes the commit, with its author and its message. The
result passes the same checks as a fetched commit, then its objects become a staged pack of the applied repo.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta.config import Config
from meta.errors import BadInput, Conflict, PermanentError, Refused, TransientError
from meta.git import packs
from meta.git.files import write_objects
from meta.git.objects import IDENTITY, GitObject, commit, decode_commit
from meta.layout import Layout
from meta.names import Sha
from meta.process.recorder import Recorder
from meta.proposed.quarantine.foreign import limits
from meta.proposed.quarantine.repo import Fetched, QuarantineRepo, hand_over
from meta.proposed.quarantine.tree import printable

MOST_COMMITS = 100
"""Commits of one proposal that hive replays. Each starts a process."""
SHOWN_CONFLICTS = 20
"""Files with conflicts that an error names."""
_COMMIT_BYTES = 2**21
_CONFLICT_BYTES = 2**20
_KEPT = (b"author ", b"encoding ")
"""Headers of a commit that stay. A signature would be wrong for the new one."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A request to replay what `sha` adds to `onto`; both are in the applied repo. `by_hand`: the hint on conflicts."""

    sha: Sha
    onto: Sha
    applied_git: Path
    at: int
    by_hand: str


async def replay(request: Replay, layout: Layout, config: Config, recorder: Recorder | None = None) -> Fetched:
    """Return the new commit with its staged pack, which the caller places or discards, and how many merges it lacks.

    Raise Conflict if a file was changed on both sides, or if nothing is left to change; Refused if a check fails or
    there are too many commits; TransientError at the deadline.
    """
    repo = QuarantineRepo.create(layout.quarantine, request.applied_git, config, recorder)
    try:
        with packs.reading(request.applied_git):
            async with asyncio.timeout(config.fetch_deadline):
                new = await _replay(repo, request)
                added = request.sha, f"^{request.onto}"
                merges = int(await repo.output("rev-list", "--count", "--merges", *added))
            fetched = await repo.check(new, request.onto, request.by_hand)
            staged = await hand_over(repo.path, request.applied_git, new, request.onto, config.git_deadline, recorder)
        return replace(fetched, staged=staged, merges=merges)
    except TimeoutError as error:
        raise TransientError(
            f"replaying {request.sha[:12]} took longer than {config.fetch_deadline:g} s",
            "HIVE_FETCH_DEADLINE sets the limit",
        ) from error
    finally:
        await asyncio.to_thread(repo.remove)


async def _replay(repo: QuarantineRepo, request: Replay) -> Sha:
    """Write the new commits into `repo`; return the last one."""
    tip, top = request.onto, await repo.tree_of(request.onto)
    for old in await _commits(repo, request):
        data = await repo.commit_data(old, _COMMIT_BYTES)
        parents = decode_commit(old, data).parents
        if not parents:
            raise Refused(f"{old[:12]} has no parent, so hive cannot replay it", request.by_hand)
        # A commit with the new files on the old parent: then that parent is what merge-tree takes as the base.
        side = commit(top, parents[:1], "side", request.at)
        await asyncio.to_thread(write_objects, repo.path, [side])
        merged = await _merge(repo, request, side.id, old)
        if merged == top:
            continue  # what it changes is deployed already
        new = _rewritten(data, merged, tip, request.at)
        await asyncio.to_thread(write_objects, repo.path, [new])
        tip, top = new.id, merged
    if tip == request.onto:
        raise Conflict(f"all that {request.sha[:12]} changes is deployed already", "deny it: nothing is left of it")
    return tip


async def _commits(repo: QuarantineRepo, request: Replay) -> list[Sha]:
    words = ("rev-list", "--reverse", "--topo-order", "--no-merges", f"--max-count={MOST_COMMITS + 1}")
    listed = await repo.output(*words, request.sha, f"^{request.onto}")
    commits = [Sha(line) for line in listed.decode("ascii", "replace").split()]
    if len(commits) > MOST_COMMITS:
        raise Refused(f"{request.sha[:12]} has more than {MOST_COMMITS} commits to replay", request.by_hand)
    return commits


async def _merge(repo: QuarantineRepo, request: Replay, side: Sha, old: Sha) -> Sha:
    """Return the tree of `side` with the changes of the commit `old`."""
    settings = {"merge.renameLimit": "1000", "merge.directoryRenames": "false"}
    words = ("merge-tree", "--write-tree", "-z", "--name-only", side, old)
    bounds = {**limits(repo.config.fetch_deadline), resource.RLIMIT_FSIZE: repo.config.max_pack_bytes}
    code, output, complaint = await repo.merge(settings, words, _CONFLICT_BYTES, bounds)
    names = output.split(b"\0")
    if code == 0:
        return Sha(names[0].decode("ascii", "replace").strip())
    if code == 1:
        paths = list(dict.fromkeys(names[1 : names.index(b"", 1)] if b"" in names[1:] else names[1:]))
        raise Conflict(_conflicts(request.sha, old, paths), request.by_hand)
    if "usage:" in complaint or "unknown option" in complaint:
        raise Refused("this git cannot merge without a work tree: hive needs git 2.38 or newer", request.by_hand)
    last = complaint.strip().rpartition("\n")[2]
    raise PermanentError(f"git could not replay {old[:12]}: {last[:200]}", request.by_hand)


def _conflicts(sha: Sha, old: Sha, paths: Sequence[bytes]) -> str:
    shown = ", ".join(printable(path) for path in paths[:SHOWN_CONFLICTS])
    more = f" and {len(paths) - SHOWN_CONFLICTS} more" if len(paths) > SHOWN_CONFLICTS else ""
    at = "" if old == sha else f" (its commit {old[:12]})"
    return f"{sha[:12]}{at} and what is deployed both change {shown}{more}; nothing was changed"


def _rewritten(data: bytes, tree: Sha, parent: Sha, at: int) -> GitObject:
    """Return the commit `data` with another tree and parent: author and message as they were, hive as committer."""
    head, separator, message = data.partition(b"\n\n")
    if not separator:
        raise BadInput("a commit has no message part", "`git fsck` in the clone names it")
    kept = [line for line in head.split(b"\n") if line.startswith(_KEPT)]
    author, *rest = kept
    lines = [f"tree {tree}".encode(), f"parent {parent}".encode(), author]
    lines += [f"committer {IDENTITY} {at} +0000".encode(), *rest]
    return GitObject("commit", b"\n".join(lines) + b"\n\n" + message)
