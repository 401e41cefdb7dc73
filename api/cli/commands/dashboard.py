"""`hive dashboard`: a link that logs a browser in, and the browsers that are logged in.

Annotations are read at run time here, so evaluation is not postponed.
"""

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer
from typer.core import TyperGroup
from typing_extensions import override

from api.cli.client.http import Client, Row
from api.cli.command import LOOK, JsonOption, command
from api.cli.render import console
from api.cli.terminal import browser
from api.words import times
from api.words.users import with_names
from meta.errors import BadInput

LINK = "link"
HELP = "Log a browser in to the dashboard, and see or end the logins of browsers."
HEADINGS = ("ID", "WHO", "BY", "SINCE", "LAST USED", "BROWSER")
OPTIONAL = ("BROWSER", "BY")
"""Columns that a narrow terminal leaves out, in this order."""
EMPTY = "no browser is logged in; `hive dashboard` prints a link"

NoOpenOption = Annotated[bool, typer.Option("--no-open", help="print the link only, do not open a browser")]
SessionArgument = Annotated[
    int | None, typer.Argument(metavar="ID", help="the number of the session", show_default=False)
]


class _Dashboard(TyperGroup):
    """The group. `hive dashboard` is short for `hive dashboard link`."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `link` before what names no command."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        if not named and not ctx.resilient_parsing and not (args and not args[0].startswith("-")):
            args = [LINK, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help=HELP, cls=_Dashboard, subcommand_metavar="[COMMAND] ...")
    showing = ("hive dashboard", "hive dashboard --no-open", "hive dashboard link --json | jq -r .address")
    group.callback()(_short)
    command(group, LINK, LOOK, examples=showing)(link)
    command(group, "sessions", LOOK, examples=("hive dashboard sessions",))(sessions)
    command(group, "revoke", LOOK, examples=("hive dashboard revoke 3", "hive dashboard revoke --all"))(revoke)
    command(group, "passkeys", LOOK, examples=("hive dashboard passkeys", "hive dashboard passkeys --remove ID"))(
        passkeys
    )
    app.add_typer(group, name="dashboard", rich_help_panel=LOOK)


def _short(no_open: NoOpenOption = False, json: JsonOption = False) -> None:
    """Do nothing: these are the options of `link`, so that help and completion of the group name them."""


def link(
    client: Client,
    no_open: NoOpenOption = False,
    json: JsonOption = False,
) -> None:
    """Print a link that logs one browser in as you: once, within five minutes.

    Where there is a graphical session and stdout is a terminal, the browser is opened too. The link is a secret.
    """
    made = client.post("/api/dashboard/links")
    if json:
        console.write_json(made)
        return
    console.write(made["address"])
    console.flush()
    if sys.stdout.isatty() and not no_open and browser.show(made["address"]):
        console.progress("it is opened in your browser")
    console.progress(f"it logs one browser in, until {times.short_time(made['ends_at'])}; give it to nobody")


def sessions(client: Client, json: JsonOption = False) -> None:
    """List the browsers that are logged in, the one that was used last first."""
    rows = client.rows("/api/dashboard/sessions")
    if json:
        console.write_json(rows)
        return
    console.table(HEADINGS, map(_row, rows), empty=EMPTY, optional=OPTIONAL)


def revoke(
    client: Client,
    session: SessionArgument = None,
    all: Annotated[bool, typer.Option("--all", help="all of them")] = False,
    json: JsonOption = False,
) -> None:
    """Log a browser out, or all of them. Their open pages end within a second."""
    if (session is None) != all:
        raise BadInput("give the number of one session, or --all", "`hive dashboard sessions` lists them")
    if all:
        ended = client.delete_rows("/api/dashboard/sessions")
    else:
        ended = [client.delete(f"/api/dashboard/sessions/{session}")]
    if json:
        console.write_json(ended)
        return
    for row in ended:
        console.write(f"session {row['id']} of {with_names(row['by'])} is ended")
    if not ended:
        console.write("no browser was logged in")


def passkeys(
    client: Client,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="ID", help="remove this one; what it approved stays valid")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the passkeys of all operators, or remove one. They are added on the dashboard's settings.

    While approvals need the touch of a passkey, only root removes one here.
    """
    if remove is not None:
        removed = client.post(f"/api/dashboard/passkeys/{quote(remove, safe='')}/remove")
        if json:
            console.write_json(removed)
        else:
            console.write(f"the passkey {removed['name']} of {with_names(removed['owner'])} is removed")
        return
    answer = client.get("/api/dashboard/passkeys")
    if json:
        console.write_json(answer)
        return
    rows = (
        (row["id"], row["name"], with_names(row["owner"]), times.age(row["added_at"]), _used(row))
        for row in answer["passkeys"]
    )
    console.table(
        ("ID", "NAME", "OF", "AGE", "LAST USED"), rows, empty="there is no passkey; the dashboard's settings add one"
    )
    if answer["approvals"]:
        console.write("an approval needs the touch of one")


def _used(row: Row) -> str:
    return times.age(row["used_at"]) if row["used_at"] is not None else "never"


def _row(row: Row) -> tuple[object, ...]:
    since, used = times.age(row["made_at"]), times.age(row["used_at"])
    return (row["id"] or "-", with_names(row["by"]), row["how"], since, used, row["browser"])
