"""Completions from the daemon. If anything fails, a completion is empty and quick, because it must not disturb typing.

Of a text that an agent wrote only letters, digits and plain punctuation are shown: zsh evaluates completions, and
typer's quoting fails for a backslash before a `$`.
"""

import os
import re

import typer

from api.cli.client import paths
from api.cli.client.http import Client, Query, Row
from meta.agent_toml.runtimes import SEEDED
from meta.errors import HiveError

PATIENCE = 1.0
"""Seconds that a completion waits for the daemon's answer."""
MAX_IDS = 200
"""Ids that are fetched."""
_ABOUT = 60
_UNSAFE = re.compile(r"[^A-Za-z0-9 .,_/=+-]+")

Completions = list[tuple[str, str]]


def agents(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete names of agents; show their phases."""
    rows = _rows(ctx, "/api/plan", {})
    return _matching([(row["agent"], row["phase"]) for row in rows if row["phase"] != "absent"], incomplete)


def pods(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete names of agents, and of the sub-agents of each that has some: AGENT/POD; show their states."""
    shown: list[tuple[str, str]] = []
    for agent in _agents(ctx):
        shown.append((agent["agent"], agent["phase"]))
        children = [pod for pod in agent.get("pods", ()) if pod["parent"]][:MAX_IDS]
        shown += [(f"{agent['agent']}/{pod['name']}", _plain(pod["state"])) for pod in children]
    return _matching(shown, incomplete)


def runtimes(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete the runtimes with which an agent can begin."""
    return _matching([(name, "") for name in SEEDED], incomplete)


def pending(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete ids that wait for the operator."""
    return _matching(_ids(ctx, None), incomplete)


def retriable(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete ids that failed or were denied."""
    return _matching(_ids(ctx, frozenset({"failed", "denied"})), incomplete)


def stale(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete pending ids that are stale."""
    rows = _rows(ctx, "/api/proposals", {"agent": _text(ctx.params.get("agent"))})
    return _matching([(str(row["id"]), _about(row)) for row in rows if row.get("stale")], incomplete)


def cancellable(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete ids that are approved and not deployed yet."""
    return _matching(_ids(ctx, frozenset({"approved", "building"})), incomplete)


def deployed(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete deployed ids of the agent that the command line already names."""
    return _matching(_ids(ctx, frozenset({"deployed"})), incomplete)


def diffable(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete agents and pending ids; after a digit, all recent ids."""
    if incomplete.isdigit():
        return _matching(_ids(ctx, frozenset()), incomplete)
    return [*agents(ctx, args, incomplete), *pending(ctx, args, incomplete)]


def versions(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete all recent ids: at an option the parser does not know which agent was named."""
    return _matching(_ids(ctx, frozenset()), incomplete)


def questions(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete ids of open questions."""
    rows = _rows(ctx, "/api/questions", {})
    return _matching([(str(row["id"]), f"{row['asker']} {_plain(row['question'])}") for row in rows], incomplete)


def wanted(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete requests of the agent that the command line already names, and hosts that it was refused."""
    views = _views(ctx)
    requests = [(str(row["id"]), f"{row['host']} {_plain(row['why'])}") for view in views for row in view["requests"]]
    hosts = [(str(row["rule"]), f"{row['count']} times") for view in views for row in view["refused"]]
    return _matching([*requests, *_safe(hosts)], incomplete)


def granted(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete the rules that the agent, which the command line already names, has for a time."""
    views = _views(ctx)
    rules = [(str(row["rule"]), "for a time") for view in views for row in view["reach"] if row["until"] is not None]
    return _matching(_safe(rules), incomplete)


def groups(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete the operator's groups that an agent names."""
    views = _rows(ctx, "/api/network", {})
    sources = {str(row["source"]) for view in views for row in view["reach"]}
    return _matching([(each[1:], "") for each in sorted(sources) if each.startswith("@")], incomplete)


def workspaces(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete the repos of the agent that the command line already names."""
    agent = _text(ctx.params.get("agent"))
    rows = [row for row in _agents(ctx) if row["agent"] == agent]
    found = [(str(each["path"]), str(each["state"])) for row in rows for each in row.get("workspaces") or ()]
    return _matching([(path, _plain(state)) for path, state in _safe(found)], incomplete)


def span(ctx: typer.Context, args: list[str], incomplete: str) -> Completions:
    """Complete A or A..B with ids of the agent that the command line already names."""
    if str(ctx.params.get("what", "")).isdigit():
        return []
    first, dots, last = incomplete.partition("..")
    ids = _ids(ctx, frozenset(), _text(ctx.params.get("what")))
    return [(f"{first}{dots}{id}" if dots else id, about) for id, about in _matching(ids, last if dots else first)]


def _matching(candidates: Completions, incomplete: str) -> Completions:
    return [(name, about) for name, about in candidates if name.startswith(incomplete)]


def _ids(ctx: typer.Context, states: frozenset[str] | None, agent: str | None = None) -> Completions:
    """Return the ids in one of `states`, newest first.

    No states: all ids; None: pending ones. If the command line names an agent, only its ids are returned.
    """
    agent = agent or _text(ctx.params.get("agent"))
    query: Query = {"agent": agent} if states is None else {"all": True, "agent": agent, "limit": MAX_IDS}
    rows = _rows(ctx, "/api/proposals", query)
    return [(str(row["id"]), _about(row)) for row in rows if not states or row["state"] in states]


def _about(row: Row) -> str:
    state = "pending" if row["state"] == "proposal" else row["state"]
    return f"{row['agent']} {state}, {_plain(row.get('description') or row['kind'])}"


def _plain(text: object) -> str:
    """Return the first line, without characters that a shell could evaluate."""
    return " ".join(_UNSAFE.sub(" ", str(text).strip().split("\n", 1)[0])[:_ABOUT].split())


def _safe(candidates: Completions) -> Completions:
    """Return the candidates that no shell evaluates or splits. For zsh a colon ends a completion."""
    splits = os.environ.get("_HIVE_COMPLETE", "").endswith("zsh")
    safe = [(name, about) for name, about in candidates if not _UNSAFE.search(name.replace(":", ""))]
    return [(name, about) for name, about in safe if not (splits and ":" in name)]


def _views(ctx: typer.Context) -> list[Row]:
    """Return the way out of the agent that the command line already names."""
    agent = _text(ctx.params.get("agent"))
    return _rows(ctx, "/api/network", {"agent": agent}) if agent is not None else []


def _agents(ctx: typer.Context) -> list[Row]:
    try:
        return list(_client(ctx).row("/api/status")["agents"])
    except HiveError:
        return []


def _rows(ctx: typer.Context, path: str, query: Query) -> list[Row]:
    try:
        return _client(ctx).rows(path, query)
    except HiveError:
        return []


def _client(ctx: typer.Context) -> Client:
    given = {**ctx.find_root().params, **{key: value for key, value in ctx.params.items() if value is not None}}
    return Client(paths.find(_text(given.get("state")), _text(given.get("runtime"))), PATIENCE)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
