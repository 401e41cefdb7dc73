"""`hive events`: past and new events."""

from typing import Annotated

import typer

from api.cli.client.http import Client, Row
from api.cli.command import LOOK, JsonOption, command, count_of
from api.cli.render import console
from api.cli.render.events import describe

MAX_EVENTS = 1000


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "events", LOOK, examples=("hive events", "hive events --follow"))(events)


def events(
    client: Client,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="also print what happens from now on")] = False,
    after: Annotated[str | None, typer.Option("--after", metavar="SEQ", help="only events after this one")] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many of the last events")] = 50,
    json: JsonOption = False,
) -> None:
    """List what happened, oldest first.

    With --json and --follow each line is one JSON object. It is an error if --after names an event that hive no longer
    has, or an event of another database.
    """
    count_of(count, MAX_EVENTS)
    if follow:
        _follow(client, after, count, json)
        return
    past = client.rows("/api/events", {"follow": 0, "after": after, "limit": count})
    if json:
        console.write_json(past)
        return
    for row in past:
        _show_event(row, json)


def _follow(client: Client, after: str | None, count: int, json: bool) -> None:
    """Show past events, then new ones. The stream is opened first, so that no event is missed between the two."""
    with client.events(after) as stream:
        past = [] if after else client.rows("/api/events", {"follow": 0, "limit": count})
        for row in past:
            _show_event(row, json)
        shown = {row["seq"] for row in past}
        for event in stream:
            if event.kind == "resync":
                console.progress("some events are missing: they were deleted, or came faster than they were read")
            elif event.seq not in shown:
                _show_event(event.data, json)


def _show_event(row: Row, json: bool) -> None:
    if json:
        console.write_json_line(row)
    else:
        console.write(describe(row["kind"], row))
    console.flush()
