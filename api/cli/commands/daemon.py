"""Commands about the daemon itself: serve, reconcile."""

import os
import shutil
import sys
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client import paths
from api.cli.client.exit_codes import Code, TimedOut, Unreachable
from api.cli.client.http import Client, Row
from api.cli.command import (
    DAEMON,
    WAIT_SECONDS,
    JsonOption,
    MaybeAgentArgument,
    RuntimeOption,
    StateOption,
    TimeoutOption,
    WaitOption,
    command,
    epilog,
)
from api.cli.commands.look import show_plan
from api.cli.render import output
from meta.errors import NotFound, PermanentError
from reconciler.plan.phases import GIVEN_UP

if TYPE_CHECKING:
    from api.daemon.serve import Ending, ServeOptions
    from reconciler.views import Status


SLICE = 60.0
"""Seconds that one request may wait."""


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
    """Add the commands to `app`."""
    examples = ("hive serve", "hive serve --state /var/lib/hyperhive --runtime /run/hyperhive", "hive serve --once")
    app.command("serve", rich_help_panel=DAEMON, epilog=epilog(examples))(serve)
    command(app, "reconcile", DAEMON, examples=("hive reconcile", "hive reconcile alice --plan"))(reconcile)


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
            help="run agents without bubblewrap where it does not work (HIVE_ISOLATION=unsafe-none): "
            "they see what the daemon's user sees",
        ),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="reconcile until nothing is left to do, then end")] = False,
    timeout: TimeoutOption = WAIT_SECONDS,
) -> None:
    """Run the daemon in the foreground. Agents go on when it ends, and are found again when it starts.

    Without options everything is below ./.hive. Other settings are HIVE_* variables.
    """
    _need_git()
    import asyncio  # like the next line: a second of imports that no other command needs

    from api.daemon.serve import ServeOptions, serve

    found = paths.find(state, runtime, serving=True)
    found.require_own_files()
    options = ServeOptions(
        found.state, found.runtime, str(backend), str(builder), once=once, seconds=timeout, unsafe=unsafe
    )
    ending = asyncio.run(serve(options, _welcome))
    _show_ending(ending, json=False)
    raise typer.Exit(exit_code(ending))


def exit_code(ending: "Ending") -> Code:
    """Return the exit code for how the daemon ended."""
    from api.daemon.serve import Outcome

    match ending.outcome:
        case Outcome.STOPPED:
            return Code.OK
        case Outcome.FAILED:
            return Code.FAILED
        case Outcome.SETTLED:
            return Code.FAILED if any(row.phase in GIVEN_UP for row in ending.plan) else Code.OK
        case Outcome.TIMED_OUT:
            return Code.TIMEOUT
        case Outcome.INTERRUPTED:
            return Code.INTERRUPTED


def _show_ending(ending: "Ending", *, json: bool) -> None:
    """Show the plan that one round left, if there was one."""
    from api.daemon.serve import Outcome

    if ending.outcome not in (Outcome.SETTLED, Outcome.TIMED_OUT):
        return
    if json:
        output.say_json([asdict(row) for row in ending.plan])
        return
    for row in ending.plan:
        _say(f"{row.agent}: {row.phase}, {row.step}: {row.reason}")


def _welcome(status: "Status") -> None:
    """Show where everything is, and what to type next."""
    here = Path(status.state) == Path(".hive").resolve() and Path(status.runtime) == Path(".hive/run").resolve()
    _say(f"hive {status.revision} is up (backend {status.backend}, builder {status.builder}).")
    _say(f"  state      {status.state}")
    _say(f"  sockets    {status.runtime}/host.sock (JSON lines), {status.runtime}/http.sock (HTTP)")
    _say(f"  isolation  {status.isolation}")
    for note in status.notes:
        _say(f"  note       {note}")
    _say("Type next, in another terminal:")
    if not here:
        _say(f"  export HIVE_STATE={status.state} HIVE_RUNTIME={status.runtime}")
    if Path(sys.prefix, "bin", "activate").exists():
        _say(f"  . {sys.prefix}/bin/activate")
    _say("  hive status")
    _say("  hive spawn alice --wait")
    _say(f"  git clone {status.state}/applied/alice/.git alice   # change agent.toml there and commit, then:")
    _say(f"  git -C alice push {status.state}/proposed/alice/push.git HEAD:my-topic")
    _say("  hive diff 1; hive approve 1 --wait")
    _say("Ctrl-C ends the daemon; agents go on.")


def _say(text: str) -> None:
    """Print one line at once: another program may wait for it."""
    output.say(text)
    sys.stdout.flush()


def _need_git() -> None:
    """Before GitPython is imported, which ends with a traceback where there is no git."""
    if shutil.which("git") is None:
        raise PermanentError("git is not on PATH", "install it (on Debian: apt-get install git)")


def reconcile(
    client: Client,
    agent: MaybeAgentArgument = None,
    plan: Annotated[bool, typer.Option("--plan", help="only say what would be done, daemon or not")] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
    json: JsonOption = False,
) -> None:
    """Look now, instead of within the next half minute. Without a daemon it does one round itself."""
    if plan:
        show_plan(_plan(client, agent), json)
        return
    try:
        client.post("/api/reconcile", {"agent": agent})
    except Unreachable:
        if not (client.where.state / "meta" / ".git").is_dir():
            raise NotFound(f"there is no hive in {client.where.state}", "start one with `hive serve`") from None
        client.where.require_own_files()
        import asyncio

        from api.daemon.serve import serve

        output.progress(f"no daemon answers at {client.where.http}: doing one round without it")
        ending = asyncio.run(serve(_options(client, once=True, only=agent, seconds=timeout)))
        _show_ending(ending, json=json)
        raise typer.Exit(exit_code(ending)) from None
    rows = _settle(client, agent, timeout) if wait else client.rows("/api/plan", {"agent": agent})
    show_plan(rows, json)
    if wait and any(row["phase"] in GIVEN_UP for row in rows):
        raise typer.Exit(Code.FAILED)


def _plan(client: Client, agent: str | None) -> list[Row]:
    """The plan from the daemon, or read from disk when there is none."""
    try:
        return client.rows("/api/plan", {"agent": agent})
    except Unreachable:
        client.where.require_own_files()
        import asyncio

        from api.daemon.serve import peek

        return asyncio.run(peek(_options(client, only=agent)))


def _settle(client: Client, agent: str | None, seconds: float) -> list[Row]:
    """Wait until nothing is left to do, in slices that one request can take."""
    deadline = time.monotonic() + seconds
    while (remaining := deadline - time.monotonic()) > 0:
        query = {"agent": agent, "timeout": round(min(SLICE, remaining), 3)}
        if client.row("/api/wait", query)["settled"]:
            return client.rows("/api/plan", {"agent": agent})
    raise TimedOut(f"not done after {seconds:g} s; it goes on", "see `hive plan`, or wait longer")


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
