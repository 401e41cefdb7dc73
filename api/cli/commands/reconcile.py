"""`hive reconcile`: one round now, by the daemon or without it. `--plan` only shows what it would do."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client.exit_codes import Code, Interrupted, TimedOut, Unreachable
from api.cli.client.http import Client, Row
from api.cli.client.patience import LOST, Patience
from api.cli.command import (
    DAEMON,
    WAIT_SECONDS,
    JsonOption,
    MaybeAgentArgument,
    TimeoutOption,
    WaitOption,
    command,
)
from api.cli.commands.serve import BackendName, BuilderName, exit_code, show_ending
from api.cli.commands.status import show_plan
from api.cli.render import console
from meta.errors import NotFound
from reconciler.plan.phases import GIVEN_UP

if TYPE_CHECKING:
    from api.daemon.serve import ServeOptions


POLL_SECONDS = 60.0
"""Seconds that one request waits."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "reconcile", DAEMON, examples=("hive reconcile", "hive reconcile alice --plan"))(reconcile)


def reconcile(
    client: Client,
    agent: MaybeAgentArgument = None,
    plan: Annotated[bool, typer.Option("--plan", help="only show the plan; works without a daemon")] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Compare and repair now, instead of within half a minute. Without a daemon this command does one round itself."""
    if plan:
        show_plan(_plan(client, agent), json)
        return
    try:
        client.post("/api/reconcile", {"agent": agent})
    except Unreachable:
        if not (client.where.state / "meta" / ".git").is_dir():
            raise NotFound(f"there is no hive in {client.where.state}", "start one with `hive serve`") from None
        import asyncio

        from api.daemon.serve import serve

        client.where.require_own_files()
        console.progress(f"no daemon answers at {client.where.http}: doing one round without one")
        ending = asyncio.run(serve(_options(client, once=True, only=agent, seconds=timeout)))
        show_ending(ending, json=json)
        raise typer.Exit(exit_code(ending)) from None
    rows = _settle(client, agent, timeout) if wait else client.rows("/api/plan", {"agent": agent})
    show_plan(rows, json)
    if wait and any(row["phase"] in GIVEN_UP for row in rows):
        raise typer.Exit(Code.FAILED)


def _plan(client: Client, agent: str | None) -> list[Row]:
    """Return the plan from the daemon; if none answers, read it from disk."""
    try:
        return client.rows("/api/plan", {"agent": agent})
    except Unreachable:
        import asyncio

        from api.daemon.serve import peek

        client.where.require_own_files()
        return asyncio.run(peek(_options(client, only=agent)))


def _settle(client: Client, agent: str | None, seconds: float) -> list[Row]:
    """Wait until nothing is left to do, with one request after the other. Return the plan."""
    deadline = time.monotonic() + seconds
    patience = Patience()
    while (remaining := deadline - time.monotonic()) > 0:
        query = {"agent": agent, "timeout": round(min(POLL_SECONDS, remaining), 3)}
        try:
            if client.row("/api/wait", query)["settled"]:
                return client.rows("/api/plan", {"agent": agent})
            patience.end()
        except LOST as error:
            patience.wait(error, remaining)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the work goes on", "`hive plan` shows how far it is") from None
    raise TimedOut(f"not done after {seconds:g} s; the work goes on", "see `hive plan`, or wait longer")


def _options(client: Client, *, once: bool = False, only: str | None, seconds: float = WAIT_SECONDS) -> "ServeOptions":
    from api.daemon.serve import ServeOptions

    return ServeOptions(
        client.where.state,
        client.where.runtime,
        os.environ.get("HIVE_BACKEND", BackendName.LOCAL),
        os.environ.get("HIVE_BUILDER", BuilderName.PLAIN),
        once=once,
        only=only,
        seconds=seconds,
    )
