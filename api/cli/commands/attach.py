"""`hive attach`: watch an agent live, and type to it."""

import contextlib
import time
from typing import Annotated

import typer

from api.cli.client.http import Client
from api.cli.command import PodArgument, command, count_of, parts_of
from api.cli.commands.messages import TALK
from api.cli.render import console
from api.words.times import since_of
from meta.text import command_line

MOST = 2000
"""The events that hive keeps of one agent at least."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive attach alice", "hive attach alice --since 1h | tee alice.log", "hive attach alice/child")
    command(app, "attach", TALK, examples=examples)(attach)


def attach(
    client: Client,
    pod: PodArgument,
    history: Annotated[
        int | None,
        typer.Option(
            "-n", "--history", metavar="N", help="how many events that were before", show_default="100, or since WHEN"
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="only events after this time: 10m, 2h (ago), or 2026-05-01T12:00"),
    ] = None,
) -> None:
    """Watch the turns of an agent as they happen, and type to it.

    Its text appears as it is written, with one line for each tool. A line that you type is sent as a message of the
    operator; /help lists what else can be typed: /model, /compact, /new-session, /pause, /resume, /cancel, /notify and
    /pods. AGENT/POD is a sub-agent: it begins with what happens from now on, and a line begins a run. Ctrl-C or Ctrl-D
    detaches, and the agent goes on. It stays attached over restarts of the agent and of the daemon. If the
    output is a pipe, the lines are plain and nothing can be typed.
    """
    agent, child = parts_of(pod)
    begin = since_of(since, time.time()) if since is not None else 0.0
    newest = count_of(history, MOST) if history is not None else MOST if since is not None else 100
    from api.cli.attach.session import Session, has_keyboard  # live events need pydantic, which no other command does

    with contextlib.suppress(KeyboardInterrupt):
        Session(client, agent, newest, begin, child).run(typing=has_keyboard())
    console.progress(f"detached; {pod} goes on, `{command_line('hive', 'attach', pod)}` shows it again")
