"""`hive-harness workspace`: what is in an agent's repos, for `hive workspace`. It runs in the container, as the CLI.

git reads the repo's own configuration there, which is the agent's: outside of the container nobody does. What is
printed is the agent's too, and bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE, parse_settings
from meta.agent_toml.workspace import check_path
from meta.errors import BadInput, HiveError
from meta.process.run import Streams, run
from meta.text import one_line

SECONDS = 20.0
"""Seconds of one command of git."""
LINES = 200
"""Commits and changed files that are shown."""
LINE_LIMIT = 300
DIFF_LIMIT = 512 * 1024
"""Characters of a diff."""
_OUTPUT_LIMIT = 8 * 2**20
# no program of the repo's configuration is needed for what is shown
_PLAIN = ("-c", "core.fsmonitor=false", "-c", "color.ui=false", "-c", "core.quotePath=true", "--no-pager")

Json = dict[str, object]


def main(paths: Sequence[str], *, diff: bool) -> int:
    """Print the repos at these paths, or those of agent.toml, as JSON; return the exit code."""
    try:
        document: Json = {"workspaces": asyncio.run(show(paths, diff=diff))}
    except HiveError as error:
        document = {"error": error.describe()}
    print(json.dumps(document))  # noqa: T201
    return int("error" in document)


async def show(paths: Sequence[str], *, diff: bool) -> list[Json]:
    """Return what is in the repos. Raise BadInput for a path that is none, or an agent.toml that is none."""
    work = Path(os.environ.get("HIVE_STATE", "/state")) / "work"
    return [await _repo(work / path, path, diff=diff) for path in paths or _configured()]


def _configured() -> list[str]:
    file = Path(os.environ.get("HIVE_CONFIG", "/etc/hive")) / SETTINGS_FILE
    try:
        return [each.path for each in parse_settings(file.read_bytes(), str(file)).workspace]
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", "name the path of a workspace") from error


async def _repo(folder: Path, path: str, *, diff: bool) -> Json:
    try:
        check_path(path)
    except ValueError as error:
        raise BadInput(str(error), "name a path below the agent's folder of work, such as tools") from error
    row: Json = {"path": path, "branch": "", "upstream": "", "problem": ""}
    try:
        row["branch"] = await _branch(folder)
        row["upstream"] = await _text(folder, "rev-parse", "--abbrev-ref", "@{upstream}", check=False)
        base = ("@{upstream}..HEAD",) if row["upstream"] else ("HEAD", "--not", "--remotes")
        row["unpushed"] = await _lines(folder, "log", "--format=%h %s", f"--max-count={LINES + 1}", *base)
        row["changes"] = await _lines(folder, "status", "--porcelain", "--untracked-files=normal")
        if diff:
            text = await _text(folder, "diff", "--no-ext-diff", "--no-textconv", "HEAD", "--")
            row |= {"diff": text[:DIFF_LIMIT], "diff_is_cut": len(text) > DIFF_LIMIT}
    except (HiveError, OSError) as error:
        row["problem"] = "it is not there" if not folder.is_dir() else one_line(str(error), LINE_LIMIT)
    return row


async def _branch(folder: Path) -> str:
    name = await _text(folder, "symbolic-ref", "--short", "--quiet", "HEAD", check=False)
    return one_line(name, LINE_LIMIT) or f"detached at {await _text(folder, 'rev-parse', '--short', 'HEAD')}"


async def _lines(folder: Path, *words: str) -> Json:
    """Return the first lines of a command, and whether there are more."""
    lines = (await _text(folder, *words)).splitlines()
    return {"lines": [one_line(line, LINE_LIMIT) for line in lines[:LINES]], "more": len(lines) > LINES}


async def _text(folder: Path, *words: str, check: bool = True) -> str:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # GIT_CEILING_DIRECTORIES: a repo above is not the agent's workspace
    env |= {"GIT_CEILING_DIRECTORIES": str(folder.parent), "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ("git", *_PLAIN, "-C", str(folder), *words)
    ended = await run(command, deadline=SECONDS, env=env, check=check, streams=Streams(output_limit=_OUTPUT_LIMIT))
    return ended.text if ended.code == 0 else ""
