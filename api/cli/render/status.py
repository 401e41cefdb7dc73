"""A status as lines of text: what `hive status` prints and `hive status --watch` draws."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from api.cli.client.http import Row
from api.cli.render import output, tables

HEADINGS = ("AGENT", "PHASE", "SINCE", "TURN", "WANTED", "DEPLOYED", "COMMIT", "PENDING", "CRASHES", "UNREAD", "PID")
OPTIONAL = ("PID", "COMMIT", "WANTED", "UNREAD", "CRASHES", "TURN", "DEPLOYED", "SINCE", "PENDING")
"""What is left out on a narrow terminal, first to last."""
EMPTY = "no agents yet; make one with `hive spawn alice`"
MOST_IDS = 3
"""Pending ids that are shown one by one."""
INDENT = 2
"""Cells before what goes on from the line above."""


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
    say_conditions(conditions(found))


def say_conditions(lines: Sequence[str]) -> None:
    """Print what needs a person: as wide as the terminal, in another colour."""
    for line in lines:
        for part in wrapped(line, output.room()):
            text = output.coloured(part, "pending") if output.colourful() else part
            sys.stdout.write(f"{text}\n")


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
        ids(agent["pending"]),
        agent["crashes"] or "",
        agent["unread"] or "",
        agent["pid"],
    )


def ids(pending: Sequence[int]) -> str:
    """A few ids one by one, of more how many and from where to where."""
    if len(pending) <= MOST_IDS:
        return ", ".join(map(str, pending))
    return f"{len(pending)}: {pending[0]}…{pending[-1]}"


def wrapped(text: str, room: int) -> list[str]:
    """`text` in lines of at most `room` cells (0: one line), broken between words; a longer word is broken anywhere.

    What a terminal obeys is shown as an escape.
    """
    words = output.clean(text).split()
    if not room:
        return [" ".join(words)]
    lines: list[str] = []
    line = ""
    for word in words:
        if line and tables.width(line) + 1 + tables.width(word) <= room:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        line = ""
        for char in f"{_indent(lines, room)}{word}":
            if tables.width(line + char) > room:
                lines.append(line)
                line = _indent(lines, room)
            line += char
    return [*lines, line]


def _indent(lines: Sequence[str], room: int) -> str:
    return " " * INDENT if lines and room > 2 * INDENT else ""
