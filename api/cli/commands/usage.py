"""`hive usage`: what the turns of agents took, and what is left of their budgets."""

import time
from typing import Annotated

import typer

from api.cli.client.http import Client, Row
from api.cli.command import LOOK, JsonOption, MaybeAgentArgument, command, count_of
from api.cli.render import console
from api.words import times

CLAIM = "tokens and dollars are the agents' own claim"
MOST_TURNS = 500
SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive usage", "hive usage alice --since 7d -n 20", "hive usage --since 2026-11-01 --json")
    command(app, "usage", LOOK, examples=examples)(usage)


def usage(
    client: Client,
    agent: MaybeAgentArgument = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="yesterday, monday, 7d (ago), 2026-05-01", show_default="today"),
    ] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many of the newest turns of AGENT")] = SHOWN,
    json: JsonOption = False,
) -> None:
    """Show what the turns of agents took, by model: turns, tokens, dollars. With AGENT also its newest turns.

    Days are whole ones, in UTC, as budgets count them. `waited` are turns that an outage, a limit or a missing login
    put back; a budget does not count them. All figures are the agents' claim.
    """
    begin = None if since is None else times.since_of(since, time.time())
    turns = count_of(count, MOST_TURNS) if agent is not None else 0
    found = client.row("/api/usage", {"agent": agent, "since": begin, "turns": turns})
    if json:
        console.write_json(found)
        return
    console.write(f"since {time.strftime('%Y-%m-%d', time.gmtime(found['since']))} (UTC); {CLAIM}")
    console.write()
    rows = [_row(each["agent"], model) for each in found["agents"] for model in each["models"]]
    headings = ("AGENT", "MODEL", "TURNS", "WAITED", "INPUT", "OUTPUT", "CACHED", "COST", "TIME")
    console.table(headings, rows, empty="no turns", optional=("CACHED", "WAITED"))
    for each in found["agents"]:
        _show_budget(each)
    if found["turns"]:
        console.write()
        headings = ("AT", "FROM", "MODEL", "END", "INPUT", "OUTPUT", "COST", "TIME", "TOOLS")
        console.table(headings, (_turn(turn) for turn in found["turns"]), empty="", optional=("TOOLS", "FROM"))


def _row(agent: str, model: Row) -> tuple[object, ...]:
    tokens = (model["input_tokens"], model["output_tokens"], model["cached_tokens"])
    numbers = (model["turns"], model["waited"], *tokens)
    cost = _dollars(model["cost"]) if model["cost"] else "-"  # a runtime that reports no dollars
    return (agent, model["model"] or "-", *numbers, cost, _time(model["seconds"]))


def _turn(turn: Row) -> tuple[object, ...]:
    tools = ", ".join(f"{name} {number}" for name, number in turn["tools"].items())
    tokens = ("-" if number is None else number for number in (turn["input_tokens"], turn["output_tokens"]))
    who = (times.short_time(turn["at"]), turn["source"], turn["model"] or "-", turn["ending"])
    return (*who, *tokens, _dollars(turn["cost"]), _time(turn["seconds"]), tools)


def _show_budget(agent: Row) -> None:
    """Write the budget of an agent that has one."""
    budget, today = agent["budget"], agent["today"]
    parts = [f"{today[key]} of {budget[key]} {key}" for key in ("turns", "tokens") if budget[key] is not None]
    if budget["dollars"] is not None:
        spent = _dollars(today["dollars"]) if today["dollars"] or not today["turns"] else "-"
        parts.append(f"{spent} of {_dollars(budget['dollars'])}")
    if parts:
        over = f"; used up until {times.local_time(agent['until'])}" if agent["over"] is not None else ""
        console.write(f"\nbudget of {agent['agent']} today: {', '.join(parts)}{over}")
    if agent.get("metered_tokens") is not None:
        counted, name = agent["metered_tokens"], agent["agent"]
        console.write(f"\nhive-egress counted {counted} tokens of {name} in the API's answers")
    for note in agent.get("notes", ()):  # an older daemon has none
        console.write(f"  {note}")


def _dollars(value: float | None) -> str:
    return "-" if value is None else f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def _time(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f}s"
    return f"{whole // 60}m{whole % 60:02d}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02d}m"
