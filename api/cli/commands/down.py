"""`hive down`: take a whole hive down, with everything that it started."""

import os
from typing import TYPE_CHECKING, Any

import typer

from api.cli.client.exit_codes import Code, Interrupted, Unreachable
from api.cli.client.http import Client, Row
from api.cli.command import RUN, WAIT_SECONDS, JsonOption, NowOption, TimeoutOption, YesOption, command
from api.cli.render import console
from api.cli.terminal.confirm import confirm
from meta.errors import Conflict, Refused
from meta.text import command_line

if TYPE_CHECKING:
    from reconciler.daemon.remains import Remains

LEAVE_SECONDS = 60.0
"""Seconds that the daemon may take to end after all agents have."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(app, "down", RUN, examples=("hive down", "hive down --now --yes"))(down)


def down(
    client: Client,
    now: NowOption = False,
    yes: YesOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Stop every agent after its turn, end the daemon, and leave nothing of this hive running. It asks first.

    `hive serve` starts again what ran: what agents should be stays as it is. Without a daemon it ends what a killed one
    left: agents, commands, sockets. If the daemon is a service of systemd the agents end, and the command that ends the
    service is shown. Ctrl-C while agents finish their turns takes it back.
    """
    confirm(f"every agent of {client.where.state} will be stopped, and its daemon ended", yes=yes)
    answer = _ask(client, now, timeout)
    agents: list[Row] = list(answer["agents"]) if answer else []
    failed = any(row["error"] for row in agents)
    if answer and answer["unit"] and not failed:
        _write(agents, json, answer, None)
        raise Conflict(
            f"all agents are stopped; the daemon is {answer['unit']}, which systemd would start again",
            f"`{answer['stop']}` ends it; until then nothing of this hive runs but the daemon",
        )
    if failed:
        _write(agents, json, answer, None)
        raise typer.Exit(Code.FAILED)
    remains = _end_remains(client)
    agents += [_plain(outcome) for outcome in remains.agents]
    _write(agents, json, answer, remains)
    if any(row["error"] for row in agents):
        raise typer.Exit(Code.FAILED)


def _ask(client: Client, now: bool, timeout: float) -> Row:
    """Let the daemon stop everything. Return its answer; {} if there is no daemon."""
    patient = Client(client.where, timeout)
    try:
        client.get("/api/agents")
    except Unreachable as error:
        if client.where.http.exists() and isinstance(error.__cause__, PermissionError):
            raise
        return {}
    console.progress("waits until every agent has finished its turn" if not now else "stops every agent")
    try:
        return patient.post("/api/down", {"now": now})
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the hive stays up, and agents that were stopped start again", "see `hive status`"
        ) from None


def _end_remains(client: Client) -> "Remains":
    """Wait until no daemon has the state directory, and end what is left."""
    import asyncio  # slow to import, as are the modules below

    from meta.config import config_from_environment
    from meta.layout import Layout
    from reconciler.daemon.remains import end_remains, wait_for_lock

    client.where.require_own_files()
    layout = Layout(client.where.state.resolve(), client.where.runtime.resolve())
    try:
        lock = wait_for_lock(layout, LEAVE_SECONDS)
    except Conflict as error:
        again = command_line("hive", "down", *client.where.options())
        raise Conflict(
            error.summary, f"it does not answer or does not end: kill it by that pid, then `{again}`"
        ) from error
    except PermissionError as error:
        raise Refused(f"you may not read {client.where.state}", "run this as the user that runs hive") from error
    try:
        return asyncio.run(end_remains(layout, config_from_environment()))
    finally:
        os.close(lock)


def _plain(outcome: Any) -> Row:
    from dataclasses import asdict

    return asdict(outcome)


def _write(agents: list[Row], json: bool, answer: Row, remains: "Remains | None") -> None:
    """Show what was ended. Nothing is said twice: an agent that the daemon stopped does not run any more."""
    if json:
        commands = [] if remains is None else list(remains.commands)
        sockets = [] if remains is None else [str(path) for path in remains.sockets]
        daemon = answer.get("pid") if remains is not None else None
        console.write_json({"agents": agents, "daemon": daemon, "commands": commands, "sockets": sockets})
        return
    for row in agents:
        if row["error"]:
            console.progress(f"{row['agent']} failed: {row['error']}\n  try: {row['remedy']}")
        else:
            console.write(f"{row['agent']} is stopped")
    if remains is None:
        return
    for what in remains.commands:
        console.write(f"ended a command that was left: {what}")
    for path in remains.sockets:
        console.write(f"removed {path}, which was left")
    if answer:
        console.write(f"the daemon (pid {answer['pid']}) has ended")
    if not (answer or agents or remains.commands or remains.sockets):
        console.write("nothing of this hive was running")
