"""The manager's work tree of an agent: `proposed/<n>/config`. Made by hive once, and from then on never opened.

create         make the work tree from the applied repo, hand it to the manager's uid, move it into place
wire_remote    write the remote `applied` again, as the owner, in a sandbox that sees only that work tree
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
from pathlib import Path

from meta import sandbox
from meta.errors import NotFound, Refused
from meta.git import GitRepo
from meta.gitstore import disk_error
from meta.layout import Layout
from meta.names import AgentName
from meta.process import Recorder, run
from meta.quarantined import GIT_ENVIRONMENT
from meta.sandbox import Sandbox

BRANCH = "main"
SOURCES = ("refs/heads/main", "refs/hive/seed")
"""Where a new work tree begins: what is deployed, else (during the first spawn) the seed."""
DEADLINE = 30.0
_INSIDE = Path("/config")


def remote(agent: AgentName) -> dict[str, tuple[str, ...]]:
    """The remote `applied`, by key of git's configuration; the URL is the path inside the manager's container."""
    return {
        "remote.applied.url": (f"/applied/{agent}/.git",),
        "remote.applied.fetch": ("+refs/heads/*:refs/remotes/applied/*", "+refs/tags/*:refs/tags/*"),
    }


def present(layout: Layout, agent: AgentName) -> bool:
    """Whether there is a work tree: a real directory. One stat, no process."""
    try:
        return stat.S_ISDIR(os.lstat(layout.proposed_config(agent)).st_mode)
    except OSError:
        return False


async def create(layout: Layout, agent: AgentName, uid: int | None, recorder: Recorder | None = None) -> None:
    """Make the work tree, owned by `uid` (None: by the daemon's user). One that exists is not touched.

    Raises NotFound when the applied repo has no commit yet, TransientError for a full disk.
    """
    if present(layout, agent):
        return
    repo = GitRepo(layout.applied_git(agent))
    source = next((ref for ref in SOURCES if repo.ref(ref) is not None), None)
    if source is None:
        raise NotFound(f"the applied repo of {agent} has no commit", f"spawn it again: `hive spawn {agent}`")
    scratch = layout.scratch / f"proposed-{secrets.token_hex(6)}"
    try:
        scratch.mkdir(parents=True, mode=0o700)
        tree = scratch / "config"
        await _git(scratch, ["init", "--quiet", f"--initial-branch={BRANCH}", "--template=", str(tree)], recorder)
        await _git(tree, ["fetch", "--quiet", "--no-tags", str(repo.path), f"{source}:refs/heads/fetched"], recorder)
        await _git(tree, ["reset", "--quiet", "--hard", "fetched"], recorder)
        await _git(tree, ["branch", "--quiet", "-D", "fetched"], recorder)
        for key, values in remote(agent).items():
            for value in values:
                await _git(tree, ["config", "--add", key, value], recorder)
        await asyncio.to_thread(_move_into_place, tree, layout.proposed_config(agent), uid)
    except OSError as error:
        raise disk_error(f"making the proposed work tree of {agent}", error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def wire_remote(layout: Layout, agent: AgentName, uid: int | None, recorder: Recorder | None = None) -> None:
    """Write the remote `applied` again and hand the top directory to `uid`; a missing work tree is made again.

    The configuration is written by git as the owner, in a sandbox that sees nothing but this work tree.
    """
    if not present(layout, agent):
        await create(layout, agent, uid, recorder)
        return
    if sandbox.available() is None:
        raise Refused("the remote `applied` cannot be written without bubblewrap", "apt-get install bubblewrap")
    tree = layout.proposed_config(agent)
    if uid is not None:
        os.chown(tree, uid, uid, follow_symlinks=False)
    box = Sandbox(writable=((tree, _INSIDE),), env=tuple({"PATH": os.defpath, **GIT_ENVIRONMENT}.items()), uid=uid)
    for key, values in remote(agent).items():
        for number, value in enumerate(values):
            how = "--replace-all" if number == 0 else "--add"
            words = ["git", "config", "--file", str(_INSIDE / ".git" / "config"), how, key, value]
            await run(sandbox.command(box, words), deadline=DEADLINE, recorder=recorder)


async def _git(where: Path, words: list[str], recorder: Recorder | None) -> None:
    settings = ["-c", "protocol.allow=never", "-c", "protocol.file.allow=always", "-c", f"core.hooksPath={os.devnull}"]
    await run(["git", *settings, *words], cwd=where, env=GIT_ENVIRONMENT, deadline=DEADLINE, recorder=recorder)


def _move_into_place(tree: Path, target: Path, uid: int | None) -> None:
    if uid is not None:
        for folder, names, files in os.walk(tree):
            for name in (".", *names, *files):
                os.chown(Path(folder) / name, uid, uid, follow_symlinks=False)
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chmod(tree, 0o755)  # noqa: S103, PTH101 - the manager's own directory
    tree.rename(target)
