"""Bring the manager's work tree of an agent to what is deployed, if the manager left it untouched.

git runs there as the owner of the work tree, in a sandbox that sees only the work tree and a bundle of the new commits:
hive opens nothing in it, and no program that the manager names there runs. It is a fast-forward that overwrites
nothing, an ignored file neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from meta.config import Config
from meta.errors import HiveError, TransientError
from meta.git.config import own_environment
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.process import sandbox
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, run
from meta.process.sandbox import Sandbox
from meta.proposed.quarantine.foreign import limits
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT
from meta.proposed.tips import read_tips
from meta.proposed.work_tree import REMOTE, present

DEADLINE = 10.0
"""Seconds that git may take in the work tree."""

_INSIDE, _BUNDLE = Path("/repo"), Path("/in/main.bundle")
_BRANCH, _TOUCHED, _COMMITS, _CONFIGURED, _LOCKED = 10, 11, 12, 13, 14
_LEFT = {
    _BRANCH: "it is not on branch main",
    _TOUCHED: "it has changes that are not committed",
    _COMMITS: "it has commits of its own",
    _CONFIGURED: "its .git/config or .git/info/attributes changes what git writes (a filter, an include, an "
    "extension), and hive runs none of it",
    _LOCKED: "another git works in it: there is .git/index.lock",
}
_MARK = "hive follows"
"""The content of `index.lock` while hive works. If a run is killed, the next one removes a lock with this content."""
_CHANGES_WRITING = r"^(filter|include|includeif|extensions)\.|^core\.(autocrlf|eol|sparsecheckout|worktree)$"
_SCRIPT = f"""
repo={_INSIDE}/.git lock={_INSIDE}/.git/index.lock own=/tmp/git
test "$(head -c 100 $repo/HEAD)" = "ref: refs/heads/main" || exit {_BRANCH}
test ! -s $repo/info/attributes || exit {_CONFIGURED}
git config --file $repo/config --no-includes --get-regexp '{_CHANGES_WRITING}' >/dev/null
test $? = 1 || exit {_CONFIGURED}
test ! -f $lock || test "$(head -c 100 $lock)" != "{_MARK}" || rm -f $lock
(set -C; echo "{_MARK}" >$lock) 2>/dev/null || exit {_LOCKED}
trap 'rm -f $lock' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p $own/info || exit 1
ln -s $repo/refs $repo/packed-refs $repo/logs $repo/objects $own/ || exit 1
echo "ref: refs/heads/main" >$own/HEAD
head -c 67108864 $repo/index >$own/index || exit 1
test ! -f $repo/info/exclude || head -c 65536 $repo/info/exclude >$own/info/exclude
export GIT_DIR=$own GIT_WORK_TREE={_INSIDE}
git merge-base --is-ancestor HEAD "$1" || exit {_COMMITS}
changes=$(git status --porcelain --ignore-submodules=all) || exit 1
test -z "$changes" || exit {_TOUCHED}
git fetch -q --no-tags --no-write-fetch-head {_BUNDLE} +refs/heads/main:refs/remotes/{REMOTE}/main || exit 1
git merge -q --ff-only --no-overwrite-ignore refs/remotes/{REMOTE}/main || exit 1
cp $own/index $lock.hive && mv $lock.hive $repo/index
"""
"""git works in a directory of its own, below the sandbox's /tmp, with the refs, objects and index of the work tree.

So it reads no configuration, attribute or hook that the manager wrote, also if the manager changes them meanwhile. A
tree whose configuration changes what git writes is left, because without it git would write other content.
"""
_UNLOCK = f"""
lock={_INSIDE}/.git/index.lock
test ! -f $lock || test "$(head -c 100 $lock)" != "{_MARK}" || rm -f $lock
"""
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.packedGitWindowSize": "16m",
    "core.packedGitLimit": "128m",
    "diff.ignoreSubmodules": "all",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "index.threads": "1",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "submodule.recurse": "false",
}
_MEMORY = 2**30
_PROCESSES = 512
"""Processes of the manager's uid, all of them, above which none is started here."""


def tip(layout: Layout, agent: AgentName) -> Sha | None:
    """Return the commit of the work tree's `main`, read without git; None if there is none."""
    if not present(layout, agent):
        return None
    branches = read_tips(layout.proposed(agent).parent, f"{agent}/config/.git").tips
    return branches["main"].sha if "main" in branches else None


async def follow(
    layout: Layout, agent: AgentName, before: Sha, main: Sha, config: Config, recorder: Recorder | None = None
) -> str | None:
    """Fast-forward the work tree from `before`, an ancestor of `main`. Return why it was left as it is, or None."""
    owner = layout.proposed_config(agent).lstat().st_uid
    if owner != os.geteuid() and not privilege().hands_out_uids:
        return "it belongs to another user, as whom hive runs nothing here"
    scratch = layout.scratch / f"follow-{agent}-{secrets.token_hex(4)}"
    scratch.mkdir(mode=0o700, parents=True)
    try:
        bundle = await _bundle(layout, agent, before, main, scratch, config, recorder)
        tree = layout.proposed_config(agent)
        try:
            done = await _run(tree, bundle, owner, (_SCRIPT, "follow", before), config, recorder)
        except ProcessTimeout:
            with contextlib.suppress(HiveError):
                await _run(tree, bundle, owner, (_UNLOCK,), config, recorder)
            raise
    except HiveError as error:
        return error.summary
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    if done.code == 0:
        return None
    return _LEFT.get(done.code, "git could not fast-forward it")


async def _bundle(
    layout: Layout,
    agent: AgentName,
    before: Sha,
    main: Sha,
    scratch: Path,
    config: Config,
    recorder: Recorder | None,
) -> Path:
    """Write what `main` adds to `before` as a bundle, from the applied repo."""
    git_dir, bundle = layout.applied_git(agent), scratch / "main.bundle"
    done = await run(
        ["git", f"--git-dir={git_dir}", "bundle", "create", "-q", str(bundle), "refs/heads/main", f"^{before}"],
        deadline=config.git_deadline,
        recorder=recorder,
        env=own_environment(git_dir),
        check=False,
    )
    if done.code != 0:
        raise TransientError(f"git could not bundle {main[:12]} of {agent}", "see `hive doctor`")
    bundle.chmod(0o644)
    return bundle


async def _run(
    tree: Path, bundle: Path, owner: int, script: Sequence[str], config: Config, recorder: Recorder | None
) -> Completed:
    """Run a script of hive's in the sandbox, as the owner of the work tree."""
    bounds = {**limits(DEADLINE), resource.RLIMIT_AS: _MEMORY, resource.RLIMIT_FSIZE: config.max_pack_bytes}
    if owner != os.geteuid():  # the kernel counts all processes of a uid: hive's own has unrelated ones
        bounds[resource.RLIMIT_NPROC] = _PROCESSES
    command = _confined(tree, bundle, owner, script)
    return await run(command, deadline=DEADLINE, recorder=recorder, limits=bounds, check=False)


def _confined(tree: Path, bundle: Path, owner: int, script: Sequence[str]) -> list[str]:
    settings = {f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(_SETTINGS)}
    settings |= {f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(_SETTINGS.values())}
    box = Sandbox(
        read_only=((bundle, _BUNDLE),),
        writable=((tree, _INSIDE),),
        env=(
            *GIT_ENVIRONMENT.items(),
            *settings.items(),
            ("GIT_CONFIG_COUNT", str(len(_SETTINGS))),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("HOME", "/nonexistent"),
            ("PATH", os.environ.get("PATH", os.defpath)),
        ),
        uid=owner,
        hostname="proposed",
        cwd=_INSIDE,
    )
    return sandbox.command(box, ["sh", "-c", *script])
