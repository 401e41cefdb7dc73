"""Clone one repo under the CLI's uid, into a temporary name and then renamed: a half clone never counts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.child import Child, start_child
from meta.agent_toml.workspace import Workspace, remote_of
from meta.text import one_line

THERE = 100
"""The exit code if something is at the path already."""
CLONE_SECONDS = 1800.0
LOOK_SECONDS = 1.0
"""Seconds between two looks at the progress."""
TEXT_LIMIT = 300

_SCRIPT = f"""
target=$1 new=$2; shift 2
if [ -e "$target" ] || [ -L "$target" ]; then exit {THERE}; fi
mkdir -p -- "$(dirname -- "$target")" && rm -rf -- "$new" || exit
git clone --progress "$@" "$new" || exit
mv -nT -- "$new" "$target"
"""
_REFUSED = ("CONNECT tunnel failed, response 403", "hive: no way to ", "Proxy CONNECT aborted")


@dataclass(frozen=True, slots=True)
class Cloned:
    """The end of a try. `problem` is empty if the repo is there; `new`: it was cloned just now."""

    problem: str = ""
    new: bool = False


async def clone(workspace: Workspace, work: Path, env: Mapping[str, str], progress: Callable[[str], None]) -> Cloned:
    """Clone a repo below `work` unless something is at its path. Raise HiveError if git cannot be started."""
    target = work / workspace.path
    mark = hashlib.sha256(workspace.path.encode()).hexdigest()[:12]
    new = target.with_name(f".hive-clone-{mark}")
    branch = () if workspace.branch is None else ("--branch", workspace.branch)
    words = ("/bin/sh", "-c", _SCRIPT, "hive-clone", str(target), str(new), *branch, "--", workspace.url)
    child = await start_child(words, {**env, "GIT_TERMINAL_PROMPT": "0"}, work)
    child.close_stdin()
    try:
        async with asyncio.timeout(CLONE_SECONDS):
            code = await _follow(child, progress)
    except TimeoutError:
        return Cloned(f"it was not cloned within {CLONE_SECONDS:g} s")
    finally:
        await child.end()
    if code in (0, THERE):
        return Cloned(new=code == 0)
    return Cloned(_problem(child.stderr, workspace, code))


async def _follow(child: Child, progress: Callable[[str], None]) -> int:
    ended = asyncio.ensure_future(child.wait())
    try:
        while not (await asyncio.wait({ended}, timeout=LOOK_SECONDS))[0]:
            progress(_last(child.stderr))
        return ended.result()
    finally:
        ended.cancel()


def _last(stderr: str) -> str:
    """Return the last line of what git printed. A line of progress ends with a carriage return."""
    lines = [line.strip() for line in stderr.replace("\r", "\n").split("\n") if line.strip()]
    return one_line(lines[-1], TEXT_LIMIT) if lines else ""


def _problem(stderr: str, workspace: Workspace, code: int) -> str:
    if any(mark in stderr for mark in _REFUSED):
        host, port = remote_of(workspace.url)
        name = f"[{host}]" if ":" in host else host
        return f"{name}:{port} is refused: it needs a rule in network.allow"
    lines = [line.strip() for line in stderr.replace("\r", "\n").split("\n")]
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return one_line(errors[-1], TEXT_LIMIT) if errors else _last(stderr) or f"git ended with exit code {code}"
