"""`hive logs`: what an agent's container wrote, and what it writes."""

import time
from typing import Annotated

import typer

from api.cli.client.exit_codes import Unreachable
from api.cli.client.http import Client, Query, Row
from api.cli.command import LOOK, AgentArgument, JsonOption, command, count_of
from api.cli.render import output
from api.cli.render.times import since_of
from meta.errors import TransientError

MOST_LINES = 10_000
WAIT = 20.0
"""Seconds that the daemon waits for the next line, in one request."""
RETRY = 1.0
PATIENCE = 600.0
"""Seconds that a daemon which went away is waited for."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive logs alice -n 200", "hive logs alice --follow", "hive logs alice --since 10m")
    command(app, "logs", LOOK, examples=examples)(logs)


def logs(
    client: Client,
    agent: AgentArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", help="how many of the last lines")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what it writes from now on")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="only what was written after: 10m, 2h, 3d, or 2026-05-01T12:00"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """The last lines that an agent's container wrote.

    Of --since are shown the last --lines lines; it is exact to the second.
    With --follow and --json it is one JSON object per line. A daemon that is restarted meanwhile is waited for.
    """
    begin = since_of(since, time.time()) if since is not None else None
    query: Query = {"lines": count_of(lines, MOST_LINES), "since": begin}
    if follow:
        _follow(client, agent, query, json)
        return
    found = client.row(f"/api/agents/{agent}/logs", query)
    if json:
        output.say_json({"agent": found["agent"], "text": found["text"]})
    elif text := str(found["text"]):
        output.say(text.rstrip("\n"))


def _follow(client: Client, agent: str, query: Query, json: bool) -> None:
    path = f"/api/agents/{agent}/logs"
    part = client.row(path, {**query, "follow": True})
    gone: float | None = None
    while True:
        _say(agent, part, json)
        cursor = part["cursor"]
        try:
            part = client.row(path, {**query, "lines": MOST_LINES, "follow": True, "after": cursor, "wait": WAIT})
            gone = None
        except (Unreachable, TransientError) as error:
            if gone is None:
                gone = time.monotonic()
                output.progress(f"hive: {error.summary}; waiting for it")
            elif time.monotonic() - gone > PATIENCE:
                raise
            time.sleep(RETRY)
            part = {"text": "", "cursor": cursor}


def _lines(text: str) -> list[str]:
    """Return the lines as git counts them: only a line feed ends one."""
    return text.removesuffix("\n").split("\n") if text else []


def _say(agent: str, part: Row, json: bool) -> None:
    for line in _lines(str(part["text"])):
        if json:
            output.say_json_line({"agent": agent, "line": line})
        else:
            output.say(line)
    output.flush()
