"""`hive digest`: what happened while nobody looked."""

import time
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.http import Client, Row
from api.cli.command import LOOK, JsonOption, command
from api.cli.render import console
from api.words import times
from api.words.events import describe
from api.words.users import with_names

DETAILS = 5


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive digest", "hive digest --since monday -n 20", "hive digest --agent alice --since 2h --json")
    command(app, "digest", LOOK, examples=examples)(digest)


def digest(
    client: Client,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="WHEN", help="yesterday, today, monday, 10m, 2h, 3d (ago), 2026-05-01, 2026-05-01T12:00"
        ),
    ] = "yesterday",
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="only this agent", autocompletion=completion.agents)
    ] = None,
    count: Annotated[
        int, typer.Option("-n", metavar="N", help="how many of the newest events of each agent")
    ] = DETAILS,
    json: JsonOption = False,
) -> None:
    """Show what happened meanwhile, agent by agent: how much of what, then the newest events.

    Days begin at midnight, in local time. `hive events` shows all events, `hive attention` what still waits for you.
    """
    begin = times.since_of(since, time.time())
    found = client.row("/api/digest", {"since": begin, "agent": agent, "details": count})
    if json:
        console.write_json(found)
        return
    console.write(f"since {times.local_time(begin)}: {_count(found['events'], 'event')}")
    if not found["complete"]:
        console.write("older events of that time are not kept any more")
    if found["approved_by"]:
        approvers = (f"{number} by {with_names(who)}" for who, number in found["approved_by"].items())
        console.write(f"approvals: {', '.join(approvers)}")
    for row in found["agents"]:
        _show_agent(row)
    if found["left_out"]:
        console.write(f"\n{_count(found['left_out'], 'more agent')} with fewer events; `--agent NAME` shows one")


def _show_agent(row: Row) -> None:
    counts = ", ".join(f"{word} {number}" for word, number in row["counts"].items())
    console.write()
    console.heading(f"{row['agent'] or 'the daemon'}: {counts}")
    for event in row["newest"]:
        console.write(f"  {describe(event['kind'], event)}")
    if row["more"] and row["newest"]:
        console.write(f"  and {row['more']} before")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
