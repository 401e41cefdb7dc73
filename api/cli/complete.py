"""Completions from the daemon. Whatever goes wrong, a completion is empty and quick: it must never disturb typing."""

import typer

from api.cli import where
from api.cli.client import Client, Row
from meta.errors import HiveError


def agents(ctx: typer.Context, args: list[str], incomplete: str) -> list[tuple[str, str]]:
    """Names of agents, with their phase."""
    try:
        rows = _client(ctx).rows("/api/plan")
    except HiveError:
        return []
    return [
        (row["agent"], row["phase"]) for row in rows if row["agent"].startswith(incomplete) and row["phase"] != "absent"
    ]


def pending(ctx: typer.Context, args: list[str], incomplete: str) -> list[tuple[str, str]]:
    """Ids that wait for the operator."""
    return _proposals(ctx, incomplete, everything=False)


def proposals(ctx: typer.Context, args: list[str], incomplete: str) -> list[tuple[str, str]]:
    """All recent ids."""
    return _proposals(ctx, incomplete, everything=True)


def _proposals(ctx: typer.Context, incomplete: str, *, everything: bool) -> list[tuple[str, str]]:
    try:
        rows = _client(ctx).rows("/api/proposals", {"all": everything})
    except HiveError:
        return []
    return [(str(row["id"]), _about(row)) for row in rows if str(row["id"]).startswith(incomplete)]


def _about(row: Row) -> str:
    first = str(row.get("description") or row["kind"]).split("\n", 1)[0]
    return f"{row['agent']} {row['state']}: {first}"


def _client(ctx: typer.Context) -> Client:
    given = {name: ctx.params.get(name) for name in ("state", "runtime")}
    return Client(where.find(given["state"], given["runtime"]))
