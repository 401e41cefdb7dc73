"""`hive serve`: run the daemon."""

import contextlib
import shutil
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client.exit_codes import Code
from api.cli.command import DAEMON, WAIT_SECONDS, RuntimeOption, StateOption, TimeoutOption, epilog, find
from api.cli.render import console
from meta.errors import PermanentError
from meta.text import command_line
from reconciler.plan.phases import GIVEN_UP

if TYPE_CHECKING:
    from api.daemon.serve import Ending
    from reconciler.views import Status


class BackendName(StrEnum):
    """The backends that run containers."""

    LOCAL = "local"
    FAKE = "fake"
    NIXOS = "nixos"


class BuilderName(StrEnum):
    """The builders that build commits."""

    PLAIN = "plain"
    NIX = "nix"


BackendOption = Annotated[BackendName, typer.Option("--backend", envvar="HIVE_BACKEND", help="how containers run")]
BuilderOption = Annotated[BuilderName, typer.Option("--builder", envvar="HIVE_BUILDER", help="how commits are built")]
UnsafeOption = Annotated[
    bool,
    typer.Option(
        "--unsafe-no-isolation",
        help="run agents without bubblewrap, if it does not work here (HIVE_ISOLATION=unsafe-none): "
        "they can read all that the daemon's user can read",
    ),
]
ProxyOption = Annotated[bool, typer.Option("--behind-proxy", help="a reverse proxy does TLS for the dashboard")]
OnceOption = Annotated[bool, typer.Option("--once", help="reconcile until there is nothing left to do, then exit")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive serve", "hive serve --state /var/lib/hyperhive --runtime /run/hyperhive", "hive serve --once")
    app.command("serve", rich_help_panel=DAEMON, epilog=epilog(examples))(serve)


def serve(
    ctx: typer.Context,
    state: StateOption = None,
    runtime: RuntimeOption = None,
    backend: BackendOption = BackendName.LOCAL,
    builder: BuilderOption = BuilderName.PLAIN,
    unsafe: UnsafeOption = False,
    behind_proxy: ProxyOption = False,
    once: OnceOption = False,
    timeout: TimeoutOption = WAIT_SECONDS,
) -> None:
    """Run the daemon in the foreground. Agents keep running when it ends; the next daemon finds them again.

    Without options all its files are in ./.hive. Other settings are HIVE_* variables.
    """
    _require_git()
    import asyncio  # this and the next line take a second to import; no other command needs them

    from api.daemon.serve import ServeOptions, serve

    where = find(ctx, state, runtime, serving=True)
    where.require_own_files()
    options = ServeOptions(
        where.state,
        where.runtime,
        str(backend),
        str(builder),
        once=once,
        seconds=timeout,
        unsafe=unsafe,
        behind_proxy=behind_proxy,
    )
    ending = asyncio.run(serve(options, _welcome))
    show_ending(ending, json=False)
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


def show_ending(ending: "Ending", *, json: bool) -> None:
    """Show the plan that one round left, if there was one."""
    from api.daemon.serve import Outcome

    if ending.outcome not in (Outcome.SETTLED, Outcome.TIMED_OUT):
        return
    if json:
        console.write_json([asdict(row) for row in ending.plan])
        return
    for row in ending.plan:
        _say(f"{row.agent}: {row.phase}, {row.step}: {row.reason}")


def _welcome(status: "Status") -> None:
    """Show the paths of this hive, and the next commands to type."""
    here = Path(status.state) == Path(".hive").resolve() and Path(status.runtime) == Path(".hive/run").resolve()
    _say(f"hive {status.revision} is up (backend {status.backend}, builder {status.builder}).")
    _say(f"  state      {status.state}")
    _say(f"  sockets    {status.runtime}/host.sock (JSON lines), {status.runtime}/http.sock (HTTP)")
    _say(f"  isolation  {status.isolation}")
    if status.dashboard:
        _say(f"  dashboard  {status.dashboard} (`hive dashboard` prints a link that logs you in)")
    for note in status.notes:
        _say(f"  note       {note}")
    _say("Type next, in another terminal:")
    if not here:
        _say(f"  {command_line('export', f'HIVE_STATE={status.state}', f'HIVE_RUNTIME={status.runtime}')}")
    if Path(sys.prefix, "bin", "activate").exists():
        _say(f"  {command_line('.', f'{sys.prefix}/bin/activate')}")
    _say("  hive status")
    _say("  hive spawn alice --wait")
    clone = command_line("git", "clone", f"{status.state}/push/alice.git", "alice")
    _say(f"  {clone}   # change agent.toml there and commit, then:")
    _say(f"  {command_line('git', '-C', 'alice', 'push', 'origin', 'HEAD:my-topic')}")
    _say("  hive diff 1; hive approve 1 --wait")
    _say("Ctrl-C ends the daemon; agents go on.")


def _say(text: str) -> None:
    """Print one line at once: another program may wait for it. A daemon needs no reader of its stdout."""
    with contextlib.suppress(OSError):
        console.write(text)
        sys.stdout.flush()


def _require_git() -> None:
    """Raise PermanentError without git. Importing GitPython would end with a traceback instead."""
    if shutil.which("git") is None:
        raise PermanentError("git is not on PATH", "install it (on Debian: apt-get install git)")
