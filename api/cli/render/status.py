"""A status as lines of text, for `hive status` and `hive status --watch`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from api.cli.render import console, tables
from api.words import pods as words
from api.words import texts, times
from api.words.users import with_names
from meta.text import quoted

HEADINGS = (
    *("AGENT", "PHASE", "SINCE", "TURN", "WANTED", "DEPLOYED", "COMMIT"),
    *("PENDING", "CRASHES", "UNREAD", "PID", "RUNTIME", "MODEL"),
)
OPTIONAL = (
    *("PID", "COMMIT", "WANTED", "RUNTIME", "MODEL", "UNREAD", "CRASHES"),
    *("TURN", "DEPLOYED", "SINCE", "PENDING"),
)
"""Columns that a narrow terminal leaves out, in this order."""
EMPTY = "no agents yet; make one with `hive spawn alice`"
MAX_IDS = 3
"""Pending ids that are listed; of more only the number and the range is shown."""

GRANTS_SHOWN = 3
"""Rules for a time of one agent that have a line each."""

Row = dict[str, Any]
"""One JSON object of the daemon."""


def show(status: Row) -> None:
    """Print a status."""
    console.facts(
        (
            ("hive", status["revision"]),
            ("state", status["state"]),
            ("runtime", status["runtime"]),
            ("backend", f"{status['backend']}, builder {status['builder']}"),
            ("isolation", status["isolation"]),
            ("limits", status["limits"]),
            ("uids", status["uids"]),
            ("programs", status.get("programs")),  # an older daemon does not have it
            ("disk", status.get("disk")),  # an older daemon does not have it
            ("dashboard", status.get("dashboard")),  # an older daemon does not have it
            ("meta", texts.short_commit(status["meta_head"])),
        )
    )
    for note in status["notes"]:
        console.write(f"note: {note}")
    console.write()
    console.table(HEADINGS, map(row_of, status["agents"]), empty=EMPTY, optional=OPTIONAL)
    for agent in status["agents"]:
        for line in details(agent):
            console.write(f"{agent['agent']}: {line}")
    show_conditions(conditions(status))


def show_conditions(lines: Sequence[str]) -> None:
    """Print what needs a person: wrapped to the terminal's width, in another colour."""
    for line in lines:
        for part in tables.wrap(line, console.width()):
            text = console.colour(part, "pending") if console.has_colours() else part
            sys.stdout.write(f"{text}\n")


def conditions(status: Row) -> list[str]:
    """Return what needs a person."""
    agents = [f"{agent['agent']}: {condition}" for agent in status["agents"] for condition in agent["conditions"]]
    return [*waiting(status), *attention(status), *agents]


def attention(status: Row) -> list[str]:
    """Return one line with the number of rows of the attention list, if there are any."""
    counts: dict[str, int] = status.get("attention", {})  # an older daemon does not have it
    parts = [f"{number} {severity}" for severity, number in counts.items() if number]
    return [f"needs attention: {', '.join(parts)} (`hive attention`)"] if parts else []


def waiting(status: Row) -> list[str]:
    """Return one line about unread messages, open questions and dead letters, if there are any."""
    kinds = (
        ("unread", "unread message", "hive inbox"),
        ("questions", "open question", "hive questions"),
        ("dead_letters", "dead letter", "hive dead-letters"),
    )
    counted = [(status.get(key, 0), what, see) for key, what, see in kinds]
    parts = [f"{count} {what}{'s' if count > 1 else ''} (`{see}`)" for count, what, see in counted if count]
    return [f"for you: {', '.join(parts)}"] if parts else []


def row_of(agent: Row) -> tuple[object, ...]:
    """Return one row of the table."""
    deployed = "-" if agent["deployed"] is None else str(agent["deployed"])
    if agent["in_flight"] is not None:
        deployed += f" > {agent['in_flight']}"
    return (
        agent["agent"],
        agent["phase"],
        times.age(agent["since"]),
        turn(agent),
        agent["desired"],
        deployed,
        texts.short_commit(agent["sha"])[:10],
        ids(agent["pending"]),
        agent["crashes"] or "",
        agent["unread"] or "",
        agent["pid"],
        " ".join(
            filter(None, (agent.get("runtime"), agent.get("program"), agent.get("key_outside") and "(key outside)"))
        ),
        agent.get("model") or "",
    )


def details(agent: Row) -> Iterator[str]:
    """Yield a line for a state that has a reason or an end, for an override, and for a CLI that does not start.

    The words of the agent are in quotation marks, because hive does not vouch for them. An older daemon has none.
    """
    name, until, reason = agent["agent"], agent.get("turn_until"), agent.get("turn_reason")
    if until is not None or reason:
        end = f" until {times.short_time(until)}" if until is not None else ""
        yield f"{agent['turn']}{end}{f', it says: {quoted(reason)}' if reason else ''}"
    if hidden := agent.get("model_hidden"):
        override = agent["model_override"]
        yield f"the model {override} that you set hides {hidden} of agent.toml; `hive model {name} --default` ends that"
    grants = agent.get("grants", ())
    for grant in grants[:GRANTS_SHOWN]:
        by = with_names(grant["by"])
        yield f"it may reach {grant['rule']} until {times.short_time(grant['until'])}, allowed by {by}"
    if (more := len(grants) - GRANTS_SHOWN) > 0:
        yield f"it may reach {more} more rules for a time: `hive network {name}`"
    if problem := agent.get("runtime_problem"):
        yield f"its CLI does not start, it says: {quoted(problem)}"
    for each in agent.get("workspaces") or ():
        if each["state"] != "ready":
            said = f", it says: {quoted(each['text'])}" if each["text"] else ""
            yield f"workspace {quoted(each['path'])}: {quoted(each['state'])}{said}"
    yield from pod_lines(agent)


def pod_lines(agent: Row) -> Iterator[str]:
    """Yield a line for each pod, if they tell more than the agent's row."""
    pods = agent.get("pods") or ()  # an older daemon does not have them
    if not words.says_something(pods):
        return
    for depth, pod in words.tree(pods):
        yield f"pod {words.row(depth, pod)}"


def turn(agent: Row) -> str | None:
    """Return the state of the agent's turn, with its age."""
    since = agent.get("turn_since") or agent.get("state_since")  # an older daemon does not have them
    return f"{agent['turn']} {times.age(since)}" if since is not None else agent["turn"]


def ids(pending: Sequence[int]) -> str:
    """Return a few ids as a list, and more ids as their number with the first and the last."""
    if len(pending) <= MAX_IDS:
        return ", ".join(map(str, pending))
    return f"{len(pending)}: {pending[0]}…{pending[-1]}"
