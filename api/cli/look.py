"""Commands that look: status, list, plan, pending, diff, log, logs, events."""

from typing import Annotated

import typer

from api.cli import output
from api.cli.client import Client, Row
from api.cli.command import (
    LOOK,
    AgentArgument,
    JsonOption,
    MaybeAgentArgument,
    OwnerOption,
    ProposalArgument,
    command,
    count_of,
)
from api.cli.progress import GIVEN_UP
from api.cli.sentences import describe

MOST_ROWS = 1000
MOST_LINES = 10_000


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "status", LOOK, examples=("hive status", "hive status --json | jq '.agents[].phase'"))(status)
    command(app, "list", LOOK, examples=("hive list",))(list_agents)
    command(app, "plan", LOOK, examples=("hive plan", "hive plan alice"))(plan)
    command(app, "pending", LOOK, examples=("hive pending", "hive pending --all"))(pending)
    command(app, "diff", LOOK, examples=("hive diff 7",))(diff)
    command(app, "log", LOOK, examples=("hive log -n 10",))(log)
    command(app, "logs", LOOK, examples=("hive logs alice -n 200",))(logs)
    command(app, "events", LOOK, examples=("hive events", "hive events --follow"))(events)


def status(client: Client, json: JsonOption = False) -> None:
    """How the daemon and every agent are.

    PHASE is one word per agent, as docs/reference/phases.md lists them. What needs a person stands below the table.
    """
    found = client.row("/api/status")
    if json:
        output.say_json(found)
        return
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
    output.table(
        ("AGENT", "PHASE", "SINCE", "TURN", "WANTED", "DEPLOYED", "COMMIT", "PENDING", "CRASHES", "UNREAD", "PID"),
        (_status_row(agent) for agent in found["agents"]),
        empty="no agents yet; make one with `hive spawn alice`",
    )
    for agent in found["agents"]:
        for condition in agent["conditions"]:
            output.say(f"{agent['agent']}: {condition}")


def _status_row(agent: Row) -> tuple[object, ...]:
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
    for row in rows:
        for condition in row["conditions"]:
            output.say(f"{row['agent']}: {condition}")


def _waits(row: Row) -> str:
    until = f"until {output.when(row['until'])[11:]}" if row["until"] else ""
    return f"for its turn to end, {until}".rstrip(", ") if row["step"] == "drain" else until


def pending(
    client: Client,
    everything: Annotated[bool, typer.Option("--all", "-a", help="ended ones too, newest first")] = False,
    json: JsonOption = False,
) -> None:
    """Proposals that wait for a decision.

    Look at one with `hive diff`, then `hive approve` or `hive deny` it.
    """
    rows = client.rows("/api/proposals", {"all": everything})
    if json:
        output.say_json(rows)
        return
    output.table(
        ("ID", "AGENT", "KIND", "STATE", "COMMIT", "AGE", "BY", "ABOUT"),
        (
            (
                row["id"],
                row["agent"],
                row["kind"],
                row["state"] if row["state"] != "proposal" else "pending",
                output.short(row["fetched_sha"]),
                output.ago(row["requested_at"]),
                row["proposed_by"],
                output.first_line(row["note"] if row["state"] in ("failed", "denied") else row["description"]),
            )
            for row in rows
        ),
        empty="nothing is pending" if not everything else "no proposals yet",
    )


def diff(
    client: Client,
    id: ProposalArgument,
    agent: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """What a proposal changes: settings first, then the patch. Of one that failed or was denied also why.

    Approve exactly what you saw with `hive approve ID --sha COMMIT`.
    """
    found = client.row(f"/api/proposals/{id}/diff", {"agent": agent})
    if json:
        output.say_json(found)
        return
    base = output.short(found["base"]) or "nothing"
    output.heading(f"proposal {found['id']} for {found['agent']}: {base} -> {output.short(found['sha'])}")
    for line in str(found["description"]).strip().splitlines():
        output.say(f"  {line}")
    for subject in found["commits"]:
        output.say(f"  commit {subject}")
    _say_end(client.row(f"/api/proposals/{id}", {"agent": found["agent"]}))
    if found["settings"]:
        output.say()
        output.table(("SETTING", "NOW", "THEN"), found["settings"], empty="")
    _say_preview(found)
    if found["build"]:
        output.say()
        output.say("its build wrote last:")
        for line in found["build"]:
            output.say(f"  {line}")
    if found["patch"]:
        output.say()
        output.patch(found["patch"])


def _say_preview(found: Row) -> None:
    """What would be built, where the builder can say."""
    if not found["previews"] and not found["complaint"]:
        return
    output.say()
    if found["complaint"]:
        output.say("it cannot be built:")
        for line in str(found["complaint"]).splitlines():
            output.say(f"  {line}".rstrip())
    elif found["shown"] is None:
        output.say("it is not evaluated yet; look again in a moment")
    else:
        if found["same"]:
            output.say("the system would be the same")
        elif found["system"]:
            output.say("the system that would run (of what else changes the patch tells):")
        else:
            output.say("the system would be another, in what no summary names: read the patch")
        for line in found["system"]:
            output.say(f"  {line}")
    if found["shown"] is not None and not found["complaint"]:
        output.say(f"approve exactly this: hive approve {found['id']} --shown {found['shown']}")


def _say_end(card: Row) -> None:
    if card["state"] not in ("failed", "denied"):
        return
    why = str(card["note"] or "no reason was recorded").strip().splitlines()
    output.say(f"  {card['state']}: {why[0]}")
    for line in why[1:]:
        output.say(f"    {line}".rstrip())


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


def logs(
    client: Client,
    agent: AgentArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", help="how many of the last lines")] = 50,
    json: JsonOption = False,
) -> None:
    """The last lines that an agent's container wrote."""
    found = client.row(f"/api/agents/{agent}/logs", {"lines": count_of(lines, MOST_LINES)})
    if json:
        output.say_json(found)
        return
    text = str(found["text"])
    if text:
        output.say(text.rstrip("\n"))


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
