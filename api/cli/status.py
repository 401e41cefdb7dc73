"""`hive status`, once or as a live table."""

from typing import Annotated

import typer

from api.cli import output
from api.cli.client import Client, Row
from api.cli.command import LOOK, JsonOption, command

HEADINGS = ("AGENT", "PHASE", "SINCE", "TURN", "WANTED", "DEPLOYED", "COMMIT", "PENDING", "CRASHES", "UNREAD", "PID")
OPTIONAL = ("PID", "COMMIT", "WANTED", "UNREAD", "CRASHES", "TURN", "DEPLOYED", "SINCE", "PENDING")
"""What is left out on a narrow terminal, first to last."""
EMPTY = "no agents yet; make one with `hive spawn alice`"


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
        from api.cli.watch import watching  # nobody else needs it

        watching(client, json)
        return
    found = client.row("/api/status")
    if json:
        output.say_json(found)
    else:
        show(found)


def show(found: Row) -> None:
    """Print a status."""
    output.facts(
        (
            ("hive", found["revision"]),
            ("state", found["state"]),
            ("runtime", found["runtime"]),
            ("backend", f"{found['backend']}, builder {found['builder']}"),
            ("isolation", found["isolation"]),
            ("limits", found["limits"]),
            ("uids", found["uids"]),
            ("meta", output.short(found["meta_head"])),
        )
    )
    for note in found["notes"]:
        output.say(f"note: {note}")
    output.say()
    output.table(HEADINGS, map(row_of, found["agents"]), empty=EMPTY, optional=OPTIONAL)
    for condition in conditions(found):
        output.say(condition)


def conditions(found: Row) -> list[str]:
    """What needs a person."""
    agents = [f"{agent['agent']}: {condition}" for agent in found["agents"] for condition in agent["conditions"]]
    return [*waiting(found), *agents]


def waiting(found: Row) -> list[str]:
    """What waits for the operator, and what nobody took: one line, or none."""
    kinds = (
        ("unread", "unread message", "hive inbox"),
        ("questions", "open question", "hive questions"),
        ("dead_letters", "dead letter", "hive dead-letters"),
    )
    counted = [(found.get(key, 0), what, see) for key, what, see in kinds]
    parts = [f"{count} {what}{'s' if count > 1 else ''} (`{see}`)" for count, what, see in counted if count]
    return [f"for you: {', '.join(parts)}"] if parts else []


def row_of(agent: Row) -> tuple[object, ...]:
    """One line of the table."""
    deployed = "-" if agent["deployed"] is None else str(agent["deployed"])
    if agent["in_flight"] is not None:
        deployed += f" > {agent['in_flight']}"
    return (
        agent["agent"],
        agent["phase"],
        output.ago(agent["since"]),
        agent["turn"],
        agent["desired"],
        deployed,
        output.short(agent["sha"])[:10],
        agent["pending"],
        agent["crashes"] or "",
        agent["unread"] or "",
        agent["pid"],
    )
