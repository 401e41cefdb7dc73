"""`hive logs`: the output of an agent's container; --follow continues with new lines."""

import time
from typing import Annotated

import typer

from api.cli.client.exit_codes import Interrupted
from api.cli.client.http import Client, Query, Row
from api.cli.client.patience import LOST, Patience
from api.cli.command import LOOK, AgentArgument, JsonOption, command, count_of
from api.cli.render import console
from api.words.times import since_of

MAX_LINES = 10_000
WAIT = 20.0
"""Seconds that one request waits for the next line."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive logs alice -n 200", "hive logs alice --follow", "hive logs alice --since 10m")
    command(app, "logs", LOOK, examples=examples)(logs)


def logs(
    client: Client,
    agent: AgentArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", help="how many lines")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="also print what it writes from now on")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="only lines after this time: 10m, 2h, 3d (ago), or 2026-05-01T12:00"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the last lines that an agent's container wrote.

    With --since it shows the last --lines lines after that time, which is exact to the second. With --follow and --json
    each line is one JSON object. --follow goes on after a restart of the daemon.
    """
    begin = since_of(since, time.time()) if since is not None else None
    query: Query = {"lines": count_of(lines, MAX_LINES), "since": begin}
    if follow:
        try:
            _follow(client, agent, query, json)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {agent} goes on", f"`hive logs {agent} --follow` shows it again") from None
        return
    log = client.row(f"/api/agents/{agent}/logs", query)
    if json:
        console.write_json({"agent": log["agent"], "text": log["text"]})
    elif text := str(log["text"]):
        console.write(text.rstrip("\n"))


def _follow(client: Client, agent: str, query: Query, json: bool) -> None:
    path = f"/api/agents/{agent}/logs"
    part = client.row(path, {**query, "follow": True})
    patience = Patience()
    while True:
        _write(agent, part, json)
        cursor = part["cursor"]
        try:
            part = client.row(path, {**query, "lines": MAX_LINES, "follow": True, "after": cursor, "wait": WAIT})
            patience.end()
        except LOST as error:
            patience.wait(error)
            part = {"text": "", "cursor": cursor}


def _lines(text: str) -> list[str]:
    """Return the lines as git counts them: only a line feed ends one."""
    return text.removesuffix("\n").split("\n") if text else []


def _write(agent: str, part: Row, json: bool) -> None:
    for line in _lines(str(part["text"])):
        if json:
            console.write_json_line({"agent": agent, "line": line})
        else:
            console.write(line)
    console.flush()
