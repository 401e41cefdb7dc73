"""Commands that look at everything: list, plan, pending, log, events."""

from typing import Annotated

import typer

from api.cli.client.http import Client, Row
from api.cli.command import (
    LOOK,
    JsonOption,
    MaybeAgentArgument,
    command,
    count_of,
)
from api.cli.render import output
from api.cli.render.events import describe
from api.cli.render.status import say_conditions
from api.cli.render.users import who
from reconciler.plan.phases import GIVEN_UP

MOST_ROWS = 1000


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "list", LOOK, examples=("hive list",))(list_agents)
    command(app, "plan", LOOK, examples=("hive plan", "hive plan alice"))(plan)
    command(app, "pending", LOOK, examples=("hive pending", "hive pending --all", "hive pending --refused"))(pending)
    command(app, "log", LOOK, examples=("hive log -n 10",))(log)
    command(app, "events", LOOK, examples=("hive events", "hive events --follow"))(events)


def list_agents(client: Client, json: JsonOption = False) -> None:
    """The names of all agents, one per line."""
    names = [row["agent"] for row in client.rows("/api/agents")]
    if json:
        output.say_json(names)
        return
    for name in names:
        output.say(name)


def plan(client: Client, agent: MaybeAgentArgument = None, json: JsonOption = False) -> None:
    """What hive would do next, and why. Empty when reality is what is desired.

    Nothing is changed by looking.
    """
    rows = client.rows("/api/plan", {"agent": agent})
    show_plan(rows, json)
    if not json:
        for card in client.rows("/api/proposals"):
            if agent in (None, card["agent"]):
                output.say(f"{card['agent']}: {card['id']} waits for approval, see `hive diff {card['id']}`")


def show_plan(rows: list[Row], json: bool) -> None:
    """Print a plan; agents with nothing to do are only in the JSON."""
    if json:
        output.say_json(rows)
        return
    busy = [row for row in rows if row["step"] != "none"]
    count = sum(row["phase"] not in GIVEN_UP | {"absent"} for row in rows)
    output.table(
        ("AGENT", "PHASE", "STEP", "DEPLOY", "WAITS", "WHY"),
        ((row["agent"], row["phase"], row["step"], row["deploy"], _waits(row), row["reason"]) for row in busy),
        empty=f"nothing to do: {count} agent{'' if count == 1 else 's'} as desired",
    )
    say_conditions([f"{row['agent']}: {condition}" for row in rows for condition in row["conditions"]])


def _waits(row: Row) -> str:
    until = f"until {output.when(row['until'])[11:]}" if row["until"] else ""
    return f"for its turn to end, {until}".rstrip(", ") if row["step"] == "drain" else until


def pending(
    client: Client,
    everything: Annotated[bool, typer.Option("--all", "-a", help="ended ones too, newest first")] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="only the branches whose commit is refused, and why")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Proposals that wait for a decision; below them the branches that are none.

    Look at one with `hive diff`, then `hive approve` or `hive deny` it. One that is stale does not descend from what
    the agent has by now: `hive diff` says how to rebase it.
    """
    if refused:
        _say_refused(client, json)
        return
    rows = client.rows("/api/proposals", {"all": everything})
    if json:
        output.say_json(rows)
        return
    output.table(
        ("ID", "AGENT", "KIND", "STATE", "COMMIT", "AGE", "BRANCH", "BY", "ABOUT"),
        (
            (
                row["id"],
                row["agent"],
                row["kind"],
                _state(row),
                output.short(row["fetched_sha"]),
                output.ago(row["requested_at"]),
                row["branch"] or "",
                who(row["proposed_by"]),
                output.first_line(row["note"] if row["state"] in ("failed", "denied") else row["description"]),
            )
            for row in rows
        ),
        empty="nothing is pending" if not everything else "no proposals yet",
        optional=("COMMIT", "KIND", "AGE"),
    )
    say_conditions([f"{tip['agent']}: {_refusal(tip)}" for tip in client.rows("/api/refused")])


def _say_refused(client: Client, json: bool) -> None:
    tips = client.rows("/api/refused")
    if json:
        output.say_json(tips)
        return
    for tip in tips:
        output.say(f"{tip['agent']}: {_refusal(tip)}")
    if not tips:
        output.say("no branch is refused")


def _refusal(tip: Row) -> str:
    by = f" ({who(tip['by'])})" if tip["by"] else ""
    return f"{tip['branch']} at {output.short(tip['commit'])}{by} is refused: {tip['reason']}; {tip['remedy']}"


def _state(row: Row) -> str:
    if row["state"] == "proposal":
        return "stale: rebase" if row["stale"] else "pending"
    return str(row["state"])


def log(
    client: Client,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many, newest first")] = 20,
    json: JsonOption = False,
) -> None:
    """The system-wide deploy log: one line per change of what is desired. It holds only successes."""
    rows = client.rows("/api/log", {"limit": count_of(count, MOST_ROWS)})
    if json:
        output.say_json(rows)
        return
    output.table(
        ("COMMIT", "AT", "AGENT", "ID", "ACTION", "RUNS", "BY", "SUBJECT"),
        (
            (
                output.short(row["commit"])[:10],
                output.when(row["at"]),
                row["agent"],
                row["id"],
                row["action"],
                output.short(row["sha"])[:10],
                row["by"],
                row["subject"],
            )
            for row in rows
        ),
        empty="nothing was deployed yet",
    )


def events(
    client: Client,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what happens from now on")] = False,
    after: Annotated[str | None, typer.Option("--after", metavar="SEQ", help="only what came after this event")] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many of the last events")] = 50,
    json: JsonOption = False,
) -> None:
    """What happened, oldest first.

    With --json and --follow it is one JSON object per line. A gap is never silent: when --after names an event that
    is gone, or another database, that is an error.
    """
    count_of(count, MOST_ROWS)
    if follow:
        _follow(client, after, count, json)
        return
    past = client.rows("/api/events", {"follow": 0, "after": after, "limit": count})
    if json:
        output.say_json(past)
        return
    for row in past:
        _say_event(row, json)


def _follow(client: Client, after: str | None, count: int, json: bool) -> None:
    """What happened, then what happens; the stream is opened first, so that nothing falls between the two."""
    with client.events(after) as stream:
        past = [] if after else client.rows("/api/events", {"follow": 0, "limit": count})
        for row in past:
            _say_event(row, json)
        said = {row["seq"] for row in past}
        for event in stream:
            if event.kind == "resync":
                output.progress("some events cannot be given: they are gone, or came faster than they were read")
            elif event.seq not in said:
                _say_event(event.data, json)


def _say_event(row: Row, json: bool) -> None:
    if json:
        output.say_json_line(row)
    else:
        output.say(describe(row["kind"], row))
    output.flush()
