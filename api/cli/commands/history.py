"""The history of one agent's proposals, and the deploy log of all agents: history, log."""

from typing import Annotated

import typer

from api.cli.client.http import Client, Row
from api.cli.command import LOOK, AgentArgument, JsonOption, command, count_of
from api.cli.render import console
from api.words import texts, times
from api.words.users import person

MAX_ROWS = 1000


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "history", LOOK, examples=("hive history alice", "hive history alice -n 5 --json"))(history)
    command(app, "log", LOOK, examples=("hive log -n 10",))(log)


def history(
    client: Client,
    agent: AgentArgument,
    count: Annotated[int, typer.Option("-n", "--limit", metavar="N", help="how many, newest first")] = 20,
    json: JsonOption = False,
) -> None:
    """List the ids of an agent, newest first: how each ended, who asked, who decided, and why.

    `hive diff AGENT A..B` shows what changed between two of them.
    """
    rows = client.rows("/api/proposals", {"all": True, "agent": agent, "limit": count_of(count, MAX_ROWS)})
    if not rows:
        client.rows("/api/plan", {"agent": agent})  # raises NotFound if there is no such agent
    if json:
        console.write_json(rows)
        return
    console.table(
        ("ID", "KIND", "STATE", "COMMIT", "ASKED", "ENDED", "BY", "DECIDED BY", "ABOUT", "NOTE"),
        (
            (
                row["id"],
                row["kind"],
                row["state"] if row["state"] != "proposal" else "pending",
                texts.short_commit(row["sha"] or row["fetched_sha"])[:10],
                times.local_time(row["requested_at"])[:16],
                times.local_time(row["resolved_at"])[:16],
                person(row["proposed_by"]),
                person(row["decided_by"] or row["approved_by"]),
                texts.first_line(row["description"]),
                _note(row),
            )
            for row in rows
        ),
        empty=f"{agent} has no history yet",
        optional=("ENDED", "COMMIT", "KIND", "DECIDED BY"),
    )


def _note(row: Row) -> str:
    """Return why the proposal ended, if the note adds to the state."""
    note = texts.first_line(row["note"])
    return "" if note == row["state"] else note


def log(
    client: Client,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many, newest first")] = 20,
    json: JsonOption = False,
) -> None:
    """The system-wide deploy log: one line per change of what is desired. It holds only successes."""
    rows = client.rows("/api/log", {"limit": count_of(count, MAX_ROWS)})
    if json:
        console.write_json(rows)
        return
    console.table(
        ("COMMIT", "AT", "AGENT", "ID", "ACTION", "RUNS", "BY", "SUBJECT"),
        (
            (
                texts.short_commit(row["commit"])[:10],
                times.local_time(row["at"]),
                row["agent"],
                row["id"],
                row["action"],
                texts.short_commit(row["sha"])[:10],
                row["by"],
                row["subject"],
            )
            for row in rows
        ),
        empty="nothing was deployed yet",
    )
