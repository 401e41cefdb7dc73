"""`hive workspace`: what is in an agent's repos. The harness's program looks, in the container; what it prints is the
agent's, so it is bounded, checked and scrubbed here. hive itself never opens the repo.
"""

import contextlib
import json as json_
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from api.cli.client import completion
from api.cli.client.exit_codes import NoAnswer, TimedOut, Unreachable
from api.cli.client.http import Client
from api.cli.command import RUN, AgentArgument, JsonOption, command
from api.cli.commands.shell import run_in_container
from api.cli.render import console
from meta.errors import BadInput, Conflict, HiveError, NewerState, NotFound, PermanentError, Refused, TransientError
from meta.text import one_line, quoted, scrub

MOST = 4 * 2**20
"""Bytes that the container may print."""
SECONDS = 120.0
"""Seconds that it may take."""
ABSENT = "it is not there"
"""What the program in the container says of a repo without a directory: harness.workspace.show."""
SHOWN = 20
"""Commits and changed files of one repo that are shown."""
_LINE = 300
_TEXT = 600_000
_LIST = 200
_REPOS = 64
_ERRORS = {
    kind.__name__: kind
    for kind in (BadInput, NotFound, Conflict, Refused, TransientError, NewerState, Unreachable, TimedOut, NoAnswer)
}
"""Errors that keep their exit code on the way out of the process that looks."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive workspace alice", "hive workspace alice tools --diff")
    command(app, "workspace", RUN, examples=examples)(workspace)


def workspace(
    client: Client,
    agent: AgentArgument,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH",
            help="one repo, below /state/work",
            autocompletion=completion.workspaces,
            show_default="all of agent.toml",
        ),
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="show the uncommitted changes too")] = False,
    json: JsonOption = False,
) -> None:
    """Show an agent's repos: the branch, the commits that are not pushed, and what is not committed.

    git runs in the container, as the agent: the agent must run, and what is shown is in its words.
    """
    words = ["workspace", *(["--diff"] if diff else []), "--", *([path] if path else [])]
    rows = parse(output_of(lambda: run_in_container(client, agent, words, harness=True)))
    if any(row["problem"] == ABSENT for row in rows):
        rows = explained(rows, _reported(client, agent), agent)
    if json:
        console.write_json({"agent": agent, "workspaces": rows})
        return
    if not rows:
        console.write(f"{agent} has no [[workspace]] in its agent.toml; name the PATH of a repo below /state/work")
    for row in rows:
        console.write("\n".join(lines(row)))


def explained(rows: list[dict[str, Any]], reported: dict[str, dict[str, Any]], agent: str) -> list[dict[str, Any]]:
    """Return the repos, those that are not there with what the harness reports of them.

    Raise NotFound for one that is not there and that agent.toml does not name.
    """
    return [{**row, "problem": _reason(row, reported, agent)} if row["problem"] == ABSENT else row for row in rows]


def _reason(row: dict[str, Any], reported: dict[str, dict[str, Any]], agent: str) -> str:
    known = reported.get(row["path"])
    if known is None:
        raise NotFound(
            f"{agent} has no repo {row['path']} below /state/work", f"`hive workspace {agent}` shows them all"
        )
    text = f", it says: {quoted(known['text'])}" if known["text"] else ""
    return f"{ABSENT}: {quoted(known['state'])}{text}"


def _reported(client: Client, agent: str) -> dict[str, dict[str, Any]]:
    """Return what the harness reports of the repos in agent.toml, by their paths."""
    agents = (row for row in client.row("/api/status")["agents"] if row["agent"] == agent)
    return {each["path"]: each for row in agents for each in row.get("workspaces") or ()}


def output_of(work: Callable[[], int]) -> bytes:
    """Return what `work` and its children print to stdout, in a process of its own. Raise what it raises.

    It has no stdin, and its stderr is dropped. Raise PermanentError if it prints too much or takes too long.
    """
    reading, writing = os.pipe()
    failing, failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        _print_to(writing, failed, work)
    os.close(writing)
    os.close(failed)
    try:
        data = _read(reading)
    finally:
        os.close(reading)  # what still prints ends by that
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(failing, "rb") as pipe:
            problem = pipe.read(16_384)
    if problem:
        name, summary, hint = json_.loads(problem)
        raise _ERRORS.get(name, PermanentError)(summary, hint)
    return data


def _print_to(writing: int, failed: int, work: Callable[[], int]) -> None:
    os.set_inheritable(failed, False)
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for ours, theirs in ((null, 0), (writing, 1), (null, 2)):
            os.dup2(ours, theirs)
        os.close(writing)
        os._exit(work())
    except HiveError as error:
        line = json_.dumps([type(error).__name__, error.summary[:2000], error.hint[:2000]])
        os.write(failed, line.encode())
    finally:
        os._exit(126)


def _read(reading: int) -> bytes:
    data, end = b"", time.monotonic() + SECONDS
    while (left := end - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            part = os.read(reading, 65_536)
            data += part
            if not part:
                return data
            if len(data) > MOST:
                raise PermanentError("the container printed too much", "look yourself, with `hive shell`")
    raise PermanentError(f"the container printed nothing for {SECONDS:g} s", "look yourself, with `hive shell`")


def parse(data: bytes) -> list[dict[str, Any]]:
    """Return the repos of what the container printed: known keys alone, each bounded and scrubbed."""
    try:
        document = json_.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise PermanentError("the container printed nothing that hive understands", "an older harness runs: restart it")
    if isinstance(document.get("error"), str):
        raise BadInput(one_line(document["error"], _LINE), "name the PATH of a repo below /state/work")
    rows = document.get("workspaces")
    return [_row(row) for row in (rows[:_REPOS] if isinstance(rows, list) else []) if isinstance(row, dict)]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    texts = {key: one_line(str(row.get(key, "")), _LINE) for key in ("path", "branch", "upstream", "problem")}
    lists = {key: _list(row.get(key)) for key in ("unpushed", "changes")}
    diff = row.get("diff")
    more = {"diff": scrub(diff, _TEXT), "diff_is_cut": row.get("diff_is_cut") is True} if isinstance(diff, str) else {}
    return {**texts, **lists, **more}


def _list(value: Any) -> dict[str, Any]:
    entries = value.get("lines") if isinstance(value, dict) else None
    found = [one_line(str(line), _LINE) for line in entries[:_LIST]] if isinstance(entries, list) else []
    return {"lines": found, "more": isinstance(value, dict) and value.get("more") is True}


def lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield the text for one repo."""
    yield f"{row['path']}: {row['problem']}" if row["problem"] else f"{row['path']}: branch {row['branch']}"
    if row["problem"]:
        return
    against = f"beside {row['upstream']}" if row["upstream"] else "without an upstream"
    yield from _some("unpushed commits", f" {against}", row["unpushed"])
    yield from _some("uncommitted changes", "", row["changes"])
    if "diff" in row:
        yield row["diff"] + ("\n(the diff is cut)" if row["diff_is_cut"] else "")


def _some(what: str, more: str, found: dict[str, Any]) -> Iterator[str]:
    count = f"{len(found['lines'])}{' or more' if found['more'] else ''}" if found["lines"] else "no"
    yield f"  {count} {what}{more}"
    yield from (f"    {line}" for line in found["lines"][:SHOWN])
    if len(found["lines"]) > SHOWN:
        yield "    ..."
