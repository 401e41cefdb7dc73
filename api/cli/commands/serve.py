"""`hive serve`: run the daemon."""

import shutil
from enum import StrEnum
from typing import Annotated

import typer

from api.cli.client import paths
from api.cli.command import DAEMON, WAIT_SECONDS, RuntimeOption, StateOption, TimeoutOption, epilog
from meta.errors import PermanentError


class BackendName(StrEnum):
    """How containers run."""

    LOCAL = "local"
    FAKE = "fake"
    NIXOS = "nixos"


class BuilderName(StrEnum):
    """How commits are built."""

    PLAIN = "plain"
    NIX = "nix"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive serve", "hive serve --state /var/lib/hyperhive --runtime /run/hyperhive", "hive serve --once")
    app.command("serve", rich_help_panel=DAEMON, epilog=epilog(examples))(serve)


def serve(
    state: StateOption = None,
    runtime: RuntimeOption = None,
    backend: Annotated[
        BackendName, typer.Option("--backend", envvar="HIVE_BACKEND", help="how containers run")
    ] = BackendName.LOCAL,
    builder: Annotated[
        BuilderName, typer.Option("--builder", envvar="HIVE_BUILDER", help="how commits are built")
    ] = BuilderName.PLAIN,
    unsafe: Annotated[
        bool,
        typer.Option(
            "--unsafe-no-isolation",
            help="run agents without bubblewrap, if it does not work here (HIVE_ISOLATION=unsafe-none): "
            "they can read all that the daemon's user can read",
        ),
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="reconcile until there is nothing left to do, then exit")
    ] = False,
    timeout: TimeoutOption = WAIT_SECONDS,
) -> None:
    """Run the daemon in the foreground. Agents keep running when it ends; the next daemon finds them again.

    Without options all its files are in ./.hive. Other settings are HIVE_* variables.
    """
    _require_git()
    import asyncio  # this and the next line take a second to import; no other command needs them

    from api.daemon.serve import ServeOptions, serve

    where = paths.find(state, runtime, serving=True)
    options = ServeOptions(
        where.state, where.runtime, str(backend), str(builder), once=once, seconds=timeout, unsafe=unsafe
    )
    raise typer.Exit(asyncio.run(serve(options)))


def _require_git() -> None:
    """Raise PermanentError without git. Importing GitPython would end with a traceback instead."""
    if shutil.which("git") is None:
        raise PermanentError("git is not on PATH", "install it (on Debian: apt-get install git)")
