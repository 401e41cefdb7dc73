"""Clone one repo under the CLI's uid, into a temporary name and then renamed: a half clone never counts."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.child import Child, start_child
from meta.agent_toml.workspace import Workspace, remote_of
from meta.network.rule import authority
from meta.text import command_line, one_line

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
_TUNNEL = re.compile(r"CONNECT tunnel failed, response (\d{3})")
"""What git prints of the way out's answer over https: its status alone."""
_HELPER = re.compile(r"hive: no way to \S+: ((\d{3})?.*)")
"""What ssh's ProxyCommand prints (harness.relay.tunnel): the whole reason."""
_NOT_LISTED = "is-not-on-the-list"


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
    return Cloned(_problem(child.stderr, workspace.url, env.get("HIVE_AGENT", "AGENT"), code))


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


def _problem(stderr: str, url: str, agent: str, code: int) -> str:
    """Return why the clone failed. Only for a host that no rule has it names the rule."""
    lines = [line.strip() for line in stderr.replace("\r", "\n").split("\n")]
    if (why := _refusal(lines, url, agent)) is not None:
        return one_line(why, TEXT_LIMIT)
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return one_line(errors[-1], TEXT_LIMIT) if errors else _last(stderr) or f"git ended with exit code {code}"


def _refusal(lines: Iterable[str], url: str, agent: str) -> str | None:
    """Return the way out's answer in words; None if it made the tunnel."""
    host, port = remote_of(url)
    there = authority(host, port)
    for line in lines:
        if helper := _HELPER.match(line):
            status, why = helper[2], helper[1]
            listed = _NOT_LISTED not in why
        elif tunnel := _TUNNEL.search(line):
            status, why = tunnel[1], f"the way out answered {tunnel[1]}; `hive network {agent}` has the reason"
            listed = False
        else:
            continue
        if status == "403" and not listed:
            command = command_line("hive", "network", "allow", agent, there)
            return f"{there} is refused: it needs a rule in network.allow, `{command}`"
        return f"no way to {there}: {why}"
    return None
