"""`hive login` and `hive logout`: log an agent's coding agent in to the provider of its model, and out."""

import contextlib
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from api.cli.client import secret
from api.cli.client.exit_codes import Interrupted, TimedOut
from api.cli.client.http import Client, Row
from api.cli.command import RUN, AgentArgument, command
from api.cli.render import console
from meta.errors import BadInput, HiveError, NotFound

LOGIN_SECONDS = 600.0
"""Seconds after which the agent itself ends a login."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "login", RUN, examples=("hive login alice", "hive login alice --code-file code.txt"))(login)
    command(app, "logout", RUN, examples=("hive logout alice",))(logout)


def login(
    client: Client,
    agent: AgentArgument,
    code_file: Annotated[
        str | None, typer.Option("--code-file", metavar="FILE", help="read the code from this file, not from stdin")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="end a login of the agent that is under way, and begin anew")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="cancel the login after this time (exit 6)")
    ] = LOGIN_SECONDS,
) -> None:
    """Log an agent's coding agent in: open the address that is shown, log in there, and enter the code.

    The code is read without an echo, or as a line of stdin, and never from an argument. It goes to the CLI in the
    agent's container, and hive keeps nothing of it. Ctrl-C cancels the login. See docs/howto/login.md.
    """
    deadline = time.monotonic() + timeout
    name = secrets.token_hex(8)
    try:
        begun = client.post(f"/api/agents/{agent}/login", {"again": again, "login": name})
        _show(begun)
        result = _finish(client, agent, begun, code_file, deadline)
    except KeyboardInterrupt as error:
        _cancel(client, agent, name)
        raise Interrupted("the login was cancelled", f"`hive login {agent}` begins again") from error
    except (TimedOut, BadInput, NotFound):
        _cancel(client, agent, name)
        raise
    console.write(result["text"])


def _cancel(client: Client, agent: str, login: str) -> None:
    """Cancel the login that this command began. Another one goes on."""
    with contextlib.suppress(HiveError):
        client.post(f"/api/agents/{agent}/login/cancel", {"login": login})


def logout(client: Client, agent: AgentArgument) -> None:
    """Remove the login of an agent's coding agent. Its messages wait until it has another one."""
    client.post(f"/api/agents/{agent}/logout")
    console.write(f"{agent} is logged out")


def _show(begun: Row) -> None:
    if begun["known"]:
        console.write("Open this address and log in:")
        console.write(f"\n  {begun['address']}\n")
    else:  # without https:// no terminal makes a link of it
        console.write("Mind: the address is no login of a provider that hive knows. The agent may have made it up.")
        console.write("Compare its host before you open it. Without the https:// in front it is:")
        console.write(f"\n  {begun['address'].removeprefix('https://')}\n")
    for line in begun["text"].splitlines():
        console.write(line)
    console.flush()


def _finish(client: Client, agent: str, begun: Row, code_file: str | None, deadline: float) -> Row:
    """Pass codes on until the login is done. With a text beside the address the CLI takes no code: wait for it."""
    waits = bool(begun["text"])
    code = "" if waits else _code(code_file, deadline)
    while True:
        result = client.post(f"/api/agents/{agent}/login/code", {"code": code, "login": begun["login"]})
        if result["state"] == "done":
            return result
        if time.monotonic() >= deadline:
            raise TimedOut("the login was not done in time", f"`hive login {agent}` begins again")
        code = ""
        if result["state"] == "again":
            if code_file is not None:
                raise BadInput(result["text"], "put the right code into the file, and begin again")
            console.progress(result["text"])
            code = _code(None, deadline)


def _code(code_file: str | None, deadline: float) -> str:
    if code_file is not None:
        return secret.from_file(Path(code_file))
    return secret.from_stdin("The code, which is not shown:", max(0.0, deadline - time.monotonic()))
