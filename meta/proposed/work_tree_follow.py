"""Bring the manager's work tree of an agent to what is deployed, if the manager left it untouched.

git runs there as the owner of the work tree, in a sandbox that sees only the work tree and a bundle of the new commits:
hive opens nothing in it. It is a fast-forward that overwrites nothing, an ignored file neither.
"""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import shutil
from pathlib import Path

from meta.config import Config
from meta.errors import HiveError, TransientError
from meta.git.config import own_environment
from meta.layout import Layout
from meta.names import AgentName, Sha
from meta.process import sandbox
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from meta.process.run import run
from meta.process.sandbox import Sandbox
from meta.proposed.quarantine.foreign import limits
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT
from meta.proposed.tips import read_tips
from meta.proposed.work_tree import REMOTE, present

DEADLINE = 10.0
"""Seconds that git may take in the work tree."""

_INSIDE, _BUNDLE = Path("/repo"), Path("/in/main.bundle")
_BRANCH, _TOUCHED, _COMMITS = 10, 11, 12
_LEFT = {
    _BRANCH: "it is not on branch main",
    _TOUCHED: "it has changes that are not committed",
    _COMMITS: "it has commits of its own",
}
_SCRIPT = f"""
test "$(git symbolic-ref -q HEAD)" = refs/heads/main || exit {_BRANCH}
git merge-base --is-ancestor HEAD "$1" || exit {_COMMITS}
test -z "$(git status --porcelain | head -n 1)" || exit {_TOUCHED}
git fetch -q --no-tags --no-write-fetch-head {_BUNDLE} +refs/heads/main:refs/remotes/{REMOTE}/main || exit 1
exec git merge -q --ff-only --no-overwrite-ignore refs/remotes/{REMOTE}/main
"""
_SETTINGS = {"core.hooksPath": os.devnull, "core.fsmonitor": "false", "gc.auto": "0", "maintenance.auto": "false"}


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
        done = await run(
            _confined(layout.proposed_config(agent), bundle, owner, before),
            deadline=DEADLINE,
            recorder=recorder,
            limits={**limits(DEADLINE), resource.RLIMIT_FSIZE: config.max_pack_bytes},
            check=False,
        )
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


def _confined(tree: Path, bundle: Path, owner: int, before: Sha) -> list[str]:
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
    return sandbox.command(box, ["sh", "-c", _SCRIPT, "follow", before])
