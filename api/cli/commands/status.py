"""The state of the daemon and its agents, and what hive does next: status, list, plan."""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client.http import Client, Row, Stream
from api.cli.client.patience import LOST, PATIENCE
from api.cli.command import LOOK, JsonOption, MaybeAgentArgument, command
from api.cli.render import console
from api.cli.render.status import show, show_conditions
from api.words import times
from meta.text import size
from reconciler.plan.phases import GIVEN_UP, WANTED

if TYPE_CHECKING:
    from api.cli.render.screen import Screen

RESTART = "restart the daemon: agents keep running"
MIN_INTERVAL = 0.25
"""Seconds between two requests of --watch, however many events come."""
MAX_INTERVAL = 5.0
"""Seconds after which --watch asks again without an event."""
TICK = 0.5
"""Seconds after which a new size of the terminal is noticed."""
RETRY_INTERVAL = 1.0


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    examples = ("hive status", "hive status --watch", "hive status --json | jq '.agents[].phase'")
    command(app, "status", LOOK, examples=examples)(status)
    command(app, "list", LOOK, examples=("hive list", "hive list --destroyed"))(list_agents)
    command(app, "plan", LOOK, examples=("hive plan", "hive plan alice"))(plan)


def status(
    client: Client,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="show it again after each change, until Ctrl-C")] = False,
    json: JsonOption = False,
) -> None:
    """Show the state of the daemon and of every agent.

    PHASE is one word per agent; docs/reference/phases.md explains them. The lines below the table need a person.
    With --watch the table is drawn again after each change. If the output is a pipe, each new status is printed below
    the last one, with --json as one object per line. A narrow terminal shows fewer columns.
    """
    if watch:
        _watch(client, json)
        return
    current = client.row("/api/status")
    if json:
        console.write_json(current)
    else:
        show({**current, "notes": [*current["notes"], *_revision_note(current)]})


def _revision_note(status: Row) -> list[str]:
    """Return a note if the daemon is not of the files that this command is of, as after a `git pull`."""
    from reconciler.common.revision import differs  # it reads hive's files

    here = differs(status["revision"])
    return [f"the daemon runs {status['revision']}, this command is {here}; {RESTART}"] if here else []


def _watch(client: Client, json: bool) -> None:
    """Show the status until Ctrl-C, which ends the command normally."""
    from api.cli.render.screen import second_screen  # only --watch needs it

    with contextlib.suppress(KeyboardInterrupt):
        if json or not sys.stdout.isatty():
            _follow(client, console.write_json_line if json else _append)
            return
        with second_screen() as screen:
            _follow(client, screen.show, screen)


def _follow(client: Client, show: Callable[[Row], None], screen: "Screen | None" = None) -> None:
    lost_at: float | None = None
    has_answered = False
    while True:
        try:
            with client.events() as stream:
                while True:
                    show(client.row("/api/status"))
                    console.flush()
                    has_answered, lost_at = True, None
                    _wait(stream, screen)
        except LOST as error:
            now = time.monotonic()
            is_first = lost_at is None
            lost_at = lost_at or now
            if not has_answered or now - lost_at > PATIENCE:
                raise
            if screen is None and is_first:
                console.progress(f"hive: {error.summary}; waiting for the daemon")
            if screen is not None:
                screen.show_old(f"{error.summary}; trying again, this is the last known status")
            time.sleep(RETRY_INTERVAL)


def _wait(stream: Stream, screen: "Screen | None") -> None:
    """Wait for an event, then MIN_INTERVAL seconds.

    A screen is also drawn again if it is old or if the terminal's size changed.
    """
    deadline = time.monotonic() + MAX_INTERVAL
    while stream.next(TICK) is None:
        if screen is not None and (screen.resized() or time.monotonic() >= deadline):
            return
    end = time.monotonic() + MIN_INTERVAL
    while (remaining := end - time.monotonic()) > 0:
        stream.next(remaining)


def _append(status: Row) -> None:
    show(status)
    console.write()
    console.flush()


def list_agents(
    client: Client,
    destroyed: Annotated[bool, typer.Option("--destroyed", help="what destroyed agents left")] = False,
    json: JsonOption = False,
) -> None:
    """List the names of all agents, one per line.

    Beside them, on standard error, why some wait for you. `hive status --json` has the reason and the remedy of each.
    """
    if destroyed:
        _list_destroyed(client, json)
        return
    rows = client.rows("/api/agents")
    names = [row["agent"] for row in rows]
    if json:
        console.write_json(names)
        return
    for name in names:
        console.write(name)
    for row in rows:
        if row.get("remedy") and row["phase"] not in WANTED:
            console.progress(f"{row['agent']} is {row['phase']}: {row['reason']}; {row['remedy']}")


def _list_destroyed(client: Client, json: bool) -> None:
    rows = client.rows("/api/destroyed")
    if json:
        console.write_json(rows)
        return
    console.table(
        ("AGENT", "DESTROYED", "HOME", "MESSAGES", "GENERATIONS", "DEPLOYED"),
        (
            (
                row["agent"],
                "is being purged" if row["purging"] else times.short_time(row["at"]) if row["at"] else "long ago",
                "not measured" if row["home_bytes"] is None else size(row["home_bytes"]),
                row["messages"],
                row["generations"],
                row["deployed"],
            )
            for row in rows
        ),
        empty="no agent was destroyed and not purged",
    )


def plan(client: Client, agent: MaybeAgentArgument = None, json: JsonOption = False) -> None:
    """Show what hive does next for each agent, and why. Agents that are as desired have no row.

    It changes nothing.
    """
    rows = client.rows("/api/plan", {"agent": agent})
    show_plan(rows, json)
    if not json:
        for card in client.rows("/api/proposals"):
            if agent in (None, card["agent"]):
                console.write(f"{card['agent']}: {card['id']} waits for approval, see `hive diff {card['id']}`")


def show_plan(rows: list[Row], json: bool) -> None:
    """Print a plan. Agents with nothing to do are only in the JSON."""
    if json:
        console.write_json(rows)
        return
    busy = [row for row in rows if row["step"] != "none"]
    held = [row["agent"] for row in rows if row["phase"] in GIVEN_UP]
    count = sum(row["phase"] not in GIVEN_UP | {"absent"} for row in rows)
    damaged = ", ".join(row["agent"] for row in rows if row["phase"] == "damaged")
    head = f"hive holds {damaged} as it is" if damaged else "nothing to do"
    tail = f", {len(held)} that {'waits' if len(held) == 1 else 'wait'} for you: {', '.join(held)}" if held else ""
    console.table(
        ("AGENT", "PHASE", "STEP", "DEPLOY", "WAITS", "WHY"),
        ((row["agent"], row["phase"], row["step"], row["deploy"], _waits(row), row["reason"]) for row in busy),
        empty=f"{head}: {count} agent{'' if count == 1 else 's'} as desired{tail}",
    )
    show_conditions([f"{row['agent']}: {condition}" for row in rows for condition in row["conditions"]])
    for row in rows:
        if row["phase"] in WANTED and row.get("remedy"):  # an older daemon gives none
            console.write(f"{row['agent']}: {row['reason']}; {row['remedy']}")


def _waits(row: Row) -> str:
    until = f"until {times.short_time(row['until'])}" if row["until"] else ""
    return f"for its turn to end, {until}".rstrip(", ") if row["step"] == "drain" else until
