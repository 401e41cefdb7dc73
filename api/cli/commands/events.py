"""`hive events`: past and new events."""

import time
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.exit_codes import Interrupted
from api.cli.client.http import Client, Query, Row
from api.cli.client.patience import Following
from api.cli.command import LOOK, JsonOption, command, count_of
from api.cli.render import console
from api.words.events import describe
from api.words.times import since_of
from meta.text import command_line

MAX_EVENTS = 1000
USUAL = 50


EXAMPLES = (
    "hive events",
    "hive events --follow",
    "hive events --agent alice --since 2h",
    "hive events --kind deploy_failed --kind container_crash",
)
TICK = 60.0
"""Seconds of one wait for the next event."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "events", LOOK, examples=EXAMPLES)(events)


def events(
    client: Client,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="NAME", help="only events of this agent", autocompletion=completion.agents),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="only events of this kind (docs/reference/events.md); repeatable"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="only events from then on: 10m, 2h, 3d (ago), 2026-05-01T12:00"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="also print what happens from now on")] = False,
    after: Annotated[str | None, typer.Option("--after", metavar="SEQ", help="only events after this one")] = None,
    count: Annotated[
        int | None,
        typer.Option("-n", metavar="N", help="how many of the last events", show_default="50; 1000 with --since"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List what happened, oldest first.

    With --json and --follow each line is one JSON object. It is an error if --after names an event that hive no longer
    has, or an event of another database. --follow goes on after a restart of the daemon, without a gap.
    """
    limit = count_of(count, MAX_EVENTS) if count is not None else USUAL if since is None else MAX_EVENTS
    begin = since_of(since, time.time()) if since is not None else None
    only: Query = {"agent": agent, "kind": ",".join(kind) if kind else None, "since": begin}
    if follow:
        _follow(client, after, limit, only, json)
        return
    past = client.rows("/api/events", {"follow": 0, "after": after, "limit": limit, **only})
    if json:
        console.write_json(past)
        return
    for row in past:
        _show_event(row, json)


def _follow(client: Client, after: str | None, limit: int, only: Query, json: bool) -> None:
    """Show past events, then new ones. The stream is opened first, so that no event is missed between the two."""
    with Following(client, after, only) as stream:
        try:
            past = [] if after else client.rows("/api/events", {"follow": 0, "limit": limit, **only})
            for row in past:
                _show_event(row, json)
            shown = {row["seq"] for row in past}
            while True:
                event = stream.next(TICK)
                if event is not None and event.kind == "resync":
                    console.progress("some events are missing: they were deleted, or came faster than they were read")
                elif event is not None and event.kind != "ready" and event.seq not in shown:
                    _show_event(event.data, json)
        except KeyboardInterrupt:
            again = command_line("hive", "events", "--follow", *_words(only), "--after", stream.position)
            raise Interrupted("interrupted; hive goes on", f"`{again}` continues from here") from None


def _words(only: Query) -> list[str]:
    """Return the options that make a filter again. The time is left out: what follows is later."""
    agent = ["--agent", str(only["agent"])] if only["agent"] else []
    kinds = str(only["kind"] or "").split(",")
    return [*agent, *(word for kind in kinds if kind for word in ("--kind", kind))]


def _show_event(row: Row, json: bool) -> None:
    if json:
        console.write_json_line(row)
    else:
        console.write(describe(row["kind"], row))
    console.flush()
