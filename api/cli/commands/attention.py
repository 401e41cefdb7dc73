"""What needs a person: `hive attention`.

Annotations are read at run time here, so evaluation is not postponed.
"""

from typing import Annotated

import typer

from api.cli.client.exit_codes import Code
from api.cli.client.http import Client, Row
from api.cli.command import LOOK, JsonOption, command
from api.cli.render import console
from api.words import times

HEADINGS = ("SEVERITY", "AGE", "AGENT", "WHAT", "COMMAND")
OPTIONAL = ("AGENT", "AGE")
"""Columns that a narrow terminal leaves out, in this order."""
EMPTY = "nothing needs you"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive attention", "hive attention --json | jq -r '.rows[].command'", "hive attention --test-notify")
    command(app, "attention", LOOK, examples=examples)(attention)


def attention(
    client: Client,
    test_notify: Annotated[
        bool, typer.Option("--test-notify", help="send a notification to try out HIVE_NOTIFY; exit 1 if it fails")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what needs you: the most severe first, then the oldest, each with the command that shows more.

    critical: hive itself cannot do its work. high: an agent or a part of hive does not work. normal: you have to
    decide or to answer. low: for information. The exit code is 0 whatever the list has.
    """
    if test_notify:
        _test_notify(client, json)
        return
    answer = client.row("/api/attention")
    if json:
        console.write_json(answer)
        return
    console.table(HEADINGS, map(_row, answer["rows"]), empty=EMPTY, optional=OPTIONAL)
    if answer["left_out"]:
        console.write(f"and {answer['left_out']} more")
    for note in answer.get("notes", ()):  # an older daemon does not have it
        console.write(note)


def _test_notify(client: Client, json: bool) -> None:
    result = client.post("/api/attention/test", {})
    if json:
        console.write_json(result)
    else:
        what = "sent to" if result["sent"] else "not sent to"
        console.write(f"{what} {result['to']} in {result['seconds']:.1f} s: {result['answer']}")
        if result["text"]:
            console.write(f"it answered: {result['text']}")
    if not result["sent"]:
        raise typer.Exit(Code.FAILED)


def _row(row: Row) -> tuple[object, ...]:
    what = f"{row['title']}: {row['detail']}" if row["detail"] else row["title"]
    return (row["severity"], times.age(row["since"]), row["agent"] or "", what, row["command"])
