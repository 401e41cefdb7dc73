"""`hive status`, once or as a live table."""

from typing import Annotated

import typer

from api.cli.client.http import Client
from api.cli.command import LOOK, JsonOption, command
from api.cli.render import output
from api.cli.render.status import show


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive status", "hive status --watch", "hive status --json | jq '.agents[].phase'")
    command(app, "status", LOOK, examples=examples)(status)


def status(
    client: Client,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="keep showing it, until Ctrl-C")] = False,
    json: JsonOption = False,
) -> None:
    """How the daemon and every agent are.

    PHASE is one word per agent, as docs/reference/phases.md lists them. What needs a person stands below the table.
    With --watch the table follows what happens; into a pipe each new state is printed below the last one, with --json
    as one object per line. On a narrow terminal some columns are left out.
    """
    if watch:
        from api.cli.render.live import watching  # nobody else needs it

        watching(client, json)
        return
    found = client.row("/api/status")
    if json:
        output.say_json(found)
    else:
        show(found)
