"""Bring `main` and the tags of a push repo to what is deployed, so that one remote serves for clone and push.

hive's own git packs what the push repo lacks, in the applied repo; hive indexes nothing and opens nothing there: it
renames the pack into place (`push_repack`) and moves the refs (`push_refs`). A kill in between leaves a pack that
nothing names, which pruning removes, or tags without the new `main`; the next look goes on.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.errors import PermanentError
from meta.git.config import own_environment
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.process.disk import raise_if_no_descriptor
from meta.process.recorder import Recorder
from meta.process.run import Streams, run
from meta.proposed import push_refs, push_repo
from meta.proposed.push_repack import NewPack

MOST_TAGS = 2000
"""Tags that a push repo has of its applied repo; of more, those of the newest ids. Each push lists them all."""
_PACK = ("pack-objects", "--revs", "--non-empty", "--delta-base-offset", "-q")
_SETTINGS = ("-c", "pack.threads=1", "-c", "pack.writeReverseIndex=false", "-c", "pack.writeBitmaps=false")
_DEADLINE = 15.0


@dataclass(frozen=True, slots=True)
class Target:
    """What the push repo should have. `main` None: its branch stays where it is. `known` are commits of the applied
    repo that the push repo has already, with everything behind them.
    """

    main: Sha | None
    before: Sha | None
    tags: Mapping[str, Sha]
    known: Collection[Sha] = ()


async def bring(
    layout: Layout, agent: AgentName, target: Target, config: Config, recorder: Recorder | None = None
) -> str | None:
    """Bring the push repo there. Return why it stays behind; None if it does not.

    Raise PermanentError or TransientError if git or the disk fails; nothing refers to what was written then.
    """
    repo = layout.push_repo(agent)
    try:
        if complaint := await asyncio.to_thread(push_repo.complaint, layout, agent):
            return complaint
        packed = await asyncio.to_thread(push_refs.packed, repo)
        if packed is None:
            return f"{repo}/packed-refs is longer than 1 MiB, or not as git writes it"
        own = {ref: sha for ref, sha in packed.items() if target.tags.get(ref) == sha}
        new = {ref: sha for ref, sha in target.tags.items() if ref not in own}
        wanted = {*new.values(), *([target.main] if target.main not in (None, *target.known) else [])}
        if wanted:
            have = {*target.known, *own.values()}
            await _bring_objects(layout, agent, wanted - {None}, have, config, recorder)
        return await asyncio.to_thread(_move, repo, target, tags=bool(new))
    except OSError as error:
        raise_if_no_descriptor(f"{repo} does not follow main yet", error)
        raise PermanentError(f"{repo} does not follow main: {error.strerror}", "see `hive doctor`") from error


def _move(repo: Path, target: Target, *, tags: bool) -> str | None:
    if target.main is not None and not push_refs.move_main(repo, target.before, target.main):
        return f"{repo}: a push moved or locked main meanwhile, or branches below main/ leave no place for it"
    if tags and not push_refs.put_tags(repo, target.tags):
        return f"{repo}/packed-refs is locked by a git, or would be longer than 1 MiB with the tags"
    return None


async def _bring_objects(
    layout: Layout,
    agent: AgentName,
    wanted: Collection[Sha | None],
    have: Collection[Sha],
    config: Config,
    recorder: Recorder | None,
) -> None:
    """Install one pack with what `wanted` adds to `have`."""
    scratch, git_dir = layout.scratch / f"main-{agent}-{secrets.token_hex(4)}", layout.applied_git(agent)
    scratch.mkdir(mode=0o700, parents=True)
    try:
        lines = "".join(f"{sha}\n" for sha in wanted) + "".join(f"^{sha}\n" for sha in have)
        done = await run(
            ["git", f"--git-dir={git_dir}", *_SETTINGS, *_PACK, str(scratch / "new")],
            deadline=min(_DEADLINE, config.git_deadline),
            recorder=recorder,
            env=own_environment(git_dir),
            streams=Streams(stdin=lines.encode()),
        )
        for name in done.text.split():
            pack = scratch / f"new-{name}.pack"
            new = NewPack(pack, pack.with_suffix(".idx"), f"pack-{name}")
            await asyncio.to_thread(new.install, layout.push_repo(agent))
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
