"""What agents may reach, as lines of text, for `hive network`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from api.cli.render import console
from api.words import times
from api.words.users import with_names
from meta.network.rule import authority
from meta.text import quoted, size
from reconciler.network.words import wanted

SHOWN = 20
"""Connections, and refused hosts, that are listed."""
RULES_SHOWN = 3
"""Rules of one agent in the table of all agents."""

Row = dict[str, Any]
"""One JSON object of the daemon."""


def show_all(views: list[Row]) -> None:
    """Print a row per agent, and what needs the operator."""
    headings = ("AGENT", "MAY REACH", "OPEN", "SENT", "RECEIVED", "REFUSED", "FOR A TIME")
    console.table(headings, map(_row, views), empty="no agents yet", optional=("SENT", "RECEIVED"))
    _show_notes(views)
    for view in views:
        for line in _lines(view):
            console.write(f"{view['agent']}: {line}")


def _show_notes(views: list[Row]) -> None:
    """Print what is wrong with the way out of all agents."""
    for note in views[0]["notes"] if views else ():
        console.write(f"note: {note}")


def _row(view: Row) -> tuple[object, ...]:
    lasting = [each["rule"] for each in view["reach"] if each["until"] is None and not each["problem"]]
    refused = ", ".join(f"{authority(each['host'], each['port'])} {each['count']}x" for each in view["refused"][:2])
    granted = [each for each in view["reach"] if each["until"] is not None and not each["problem"]]
    grants = [f"{each['rule']} {_left(each['until'])}" for each in granted]
    amounts = (size(view["sent"]), size(view["received"]))
    return (view["agent"], _few(lasting) or "nothing", view["open"] or "", *amounts, refused, _few(grants))


def _few(rules: list[str]) -> str:
    more = f" and {len(rules) - RULES_SHOWN} more" if len(rules) > RULES_SHOWN else ""
    return f"{', '.join(rules[:RULES_SHOWN])}{more}"


def _lines(view: Row) -> Iterator[str]:
    """Yield what needs the operator."""
    agent = view["agent"]
    yield from view["problems"]
    for each in view["requests"]:
        yield from _request(agent, each)
    asked = {(each["host"], each["port"]) for each in view["requests"]}
    for each in view["refused"][:SHOWN]:
        if (each["host"], each["port"]) not in asked:
            yield wanted(agent, each["host"], each["port"], each["count"], each.get("problem", ""))


def _request(agent: str, request: Row) -> Iterator[str]:
    """Yield a request with its commands, and then the agent's reason: what it writes looks like no command of hive."""
    host, id = authority(request["host"], request["port"]), request["id"]
    often = f" ({request['count']} times)" if request["count"] > 1 else ""
    yield f"asks for {host}{often}: `hive network allow {agent} {id}` or `hive network deny {agent} {id}`"
    yield f"it says: {quoted(request['why'])}"


def show_one(view: Row) -> None:
    """Print what one agent may reach, and its sums."""
    refusals = sum(number for verdict, number in view["verdicts"].items() if verdict != "allowed")
    console.facts(
        (
            ("agent", view["agent"]),
            ("connections", f"{view['open']} open, {view['verdicts'].get('allowed', 0)} allowed, {refusals} not"),
            ("sent", size(view["sent"])),
            ("received", size(view["received"])),
            ("keys outside", ", ".join(view["keys"]) or "none"),
            ("keys are held", view["held"] or None),
        )
    )
    console.write()
    rows = [(each["rule"], each["source"], _left(each["until"]), _note(each)) for each in view["reach"]]
    console.table(("MAY REACH", "FROM", "LEFT", "NOTE"), rows, empty="it may reach nothing", optional=("NOTE",))
    if any(view["verdicts"].get(verdict) for verdict in view["verdicts"] if verdict != "allowed"):
        console.write()
        counts = ((verdict, number) for verdict, number in view["verdicts"].items() if verdict != "allowed")
        console.table(("NOT CONNECTED", "TIMES"), counts, empty="")


def show_lines(view: Row) -> None:
    """Print what needs the operator."""
    rows = list(_lines(view))
    if rows or view["notes"]:
        console.write()
    _show_notes([view])
    for line in rows:
        console.write(f"{view['agent']}: {line}")


def show_connections(records: list[Row]) -> None:
    """Print the last connections of an agent, if there are any."""
    if records:
        console.write()
        headings = ("AT", "HOST", "KIND", "VERDICT", "SENT", "RECEIVED", "TIME", "END")
        console.table(headings, map(_record, records[-SHOWN:]), empty="", optional=("KIND", "TIME"))


def _record(each: Row) -> tuple[object, ...]:
    amounts = (size(each["sent"]), size(each["received"]), f"{each['seconds']:.1f}s")
    at, host = times.short_time(each["at"]), authority(each["host"], each["port"])
    return (at, host, each["kind"], each["verdict"], *amounts, each["end"] or "open")


def _note(row: Row) -> str:
    by = f"allowed by {with_names(row['by'])}" if row["by"] else ""
    return row["problem"] or by


def _left(until: int | None) -> str:
    if until is None:
        return ""
    seconds = max(0, int(until - time.time()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def sentence(each: Row) -> str:
    """Return a connection in one line: refused, opened, or ended."""
    at, host = times.short_time(each["at"]), authority(each["host"], each["port"])
    if each["verdict"] != "allowed":
        why = f": {each['reason']}" if each["reason"] else ""
        return f"{at} {host} {each['verdict']}{why}; rule: {authority(each['host'], each['port'])}"
    if not each["end"]:
        return f"{at} {host} opened ({each['kind']})"
    amounts = f"{size(each['sent'])} sent, {size(each['received'])} received"
    return f"{at} {host} {each['end']} after {each['seconds']:.1f} s: {amounts}"
