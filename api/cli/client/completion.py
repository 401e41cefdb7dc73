"""Completions from the daemon. Whatever goes wrong, a completion is empty and quick: it must never disturb typing.

What an agent wrote is shown only as far as it is letters, digits and plain punctuation: zsh evaluates completions, and
typer's quoting does not hold against a backslash before a `$`.
"""

import re

import typer

from api.cli.client import paths
from api.cli.client.http import Client, Query, Row
from meta.errors import HiveError

PATIENCE = 1.0
"""Seconds that the daemon has for an answer."""
MOST = 200
"""Ids that are looked at."""
_ABOUT = 60
_UNSAFE = re.compile(r"[^A-Za-z0-9 .,_/=+-]+")

Found = list[tuple[str, str]]


def agents(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Names of agents, with their phase."""
    rows = _rows(ctx, "/api/plan", {})
    return _fitting([(row["agent"], row["phase"]) for row in rows if row["phase"] != "absent"], incomplete)


def pending(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Ids that wait for the operator."""
    return _fitting(_ids(ctx, None), incomplete)


def retriable(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Ids that failed or were denied."""
    return _fitting(_ids(ctx, frozenset({"failed", "denied"})), incomplete)


def cancellable(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Ids that are approved and not deployed yet."""
    return _fitting(_ids(ctx, frozenset({"approved", "building"})), incomplete)


def deployed(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Deployed ids, of the agent that is named before."""
    return _fitting(_ids(ctx, frozenset({"deployed"})), incomplete)


def diffable(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Agents and pending ids; once a digit is typed, all recent ids."""
    if incomplete.isdigit():
        return _fitting(_ids(ctx, frozenset()), incomplete)
    return [*agents(ctx, args, incomplete), *pending(ctx, args, incomplete)]


def versions(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """All recent ids (behind an option the parser does not tell which agent was named)."""
    return _fitting(_ids(ctx, frozenset()), incomplete)


def questions(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """Ids of open questions."""
    rows = _rows(ctx, "/api/questions", {})
    return _fitting([(str(row["id"]), f"{row['asker']} {_plain(row['question'])}") for row in rows], incomplete)


def span(ctx: typer.Context, args: list[str], incomplete: str) -> Found:
    """A or A..B, of ids of the agent that is named before."""
    if str(ctx.params.get("what", "")).isdigit():
        return []
    first, dots, last = incomplete.partition("..")
    found = _ids(ctx, frozenset(), _text(ctx.params.get("what")))
    return [(f"{first}{dots}{id}" if dots else id, about) for id, about in _fitting(found, last if dots else first)]


def _fitting(found: Found, incomplete: str) -> Found:
    return [(name, about) for name, about in found if name.startswith(incomplete)]


def _ids(ctx: typer.Context, states: frozenset[str] | None, agent: str | None = None) -> Found:
    """Ids, newest first, in one of `states` (empty: in any; None: pending), of the agent that was given, if any."""
    agent = agent or _text(ctx.params.get("agent"))
    query: Query = {"agent": agent} if states is None else {"all": True, "agent": agent, "limit": MOST}
    rows = _rows(ctx, "/api/proposals", query)
    return [(str(row["id"]), _about(row)) for row in rows if not states or row["state"] in states]


def _about(row: Row) -> str:
    state = "pending" if row["state"] == "proposal" else row["state"]
    return f"{row['agent']} {state}, {_plain(row.get('description') or row['kind'])}"


def _plain(text: object) -> str:
    """The first line of it, with nothing that a shell could evaluate."""
    return " ".join(_UNSAFE.sub(" ", str(text).strip().split("\n", 1)[0])[:_ABOUT].split())


def _rows(ctx: typer.Context, path: str, query: Query) -> list[Row]:
    try:
        found = paths.find(_text(ctx.params.get("state")), _text(ctx.params.get("runtime")))
        return Client(found, PATIENCE).rows(path, query)
    except HiveError:
        return []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
