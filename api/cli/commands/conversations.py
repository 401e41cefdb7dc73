"""Messages of all inboxes: who wrote what to whom, and what became of it.

Annotations are read at run time here, so evaluation is not postponed.
"""

from enum import StrEnum
from textwrap import indent
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.http import Client, Row
from api.cli.command import JsonOption, command, count_of
from api.cli.commands.messages import MAX_MESSAGES, TALK
from api.cli.render import console
from api.words import messages as words
from api.words import times

_INDENT = "    "


class State(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    IN_FLIGHT = "in-flight"
    DONE = "done"
    DEAD = "dead"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = (
        "hive messages",
        "hive messages --agent alice --with bob",
        "hive messages --search deploy",
        "hive messages 17",
    )
    command(app, "messages", TALK, examples=examples)(messages)


def messages(
    client: Client,
    id: Annotated[
        int | None, typer.Argument(metavar="ID", help="show this message in full", show_default=False)
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="NAME", help="only those from or to it", autocompletion=completion.agents),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="NAME", help="of these only those from or to this one", autocompletion=completion.agents
        ),
    ] = None,
    only: Annotated[State | None, typer.Option("--only", help="only those in this state")] = None,
    search: Annotated[str, typer.Option("--search", metavar="TEXT", help="only those with this text")] = "",
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many messages")] = 20,
    before: Annotated[int | None, typer.Option("--before", metavar="ID", help="only those older than this one")] = None,
    json: JsonOption = False,
) -> None:
    """List the messages of all inboxes, the newest last, with the beginnings of their texts. It takes none.

    With ID show one message in full. `hive inbox` has the messages to the operator.
    """
    if id is not None:
        row = client.row(f"/api/all-messages/{id}")
        console.write_json(row) if json else _show(row)
        return
    asked = {"agent": agent, "peer": peer, "state": only and only.value, "search": search, "before": before}
    given = {key: value for key, value in asked.items() if value not in (None, "")}
    page = client.row("/api/all-messages", {**given, "limit": count_of(count, MAX_MESSAGES)})
    if json:
        console.write_json(page)
        return
    for row in reversed(page["rows"]):
        _show(row)
    if not page["rows"]:
        console.write("no message")
    if page["next"] is not None:
        console.progress(f"older ones: add --before {page['next']}")


def _show(row: Row) -> None:
    end = row["state"] if row["state"] != "in-flight" else "in flight"
    console.heading(f"{row['id']}  {times.local_time(row['at'])}  {row['sender']} to {row['recipient']}  {end}")
    console.write(indent(words.readable(row["sender"], row["body"]).rstrip("\n"), _INDENT, lambda _: True))
    if row["cut"]:
        console.write(f"{_INDENT}({row['size']} bytes in all, see `hive messages {row['id']}`)")
    console.write("")
