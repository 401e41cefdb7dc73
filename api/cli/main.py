"""`hive`: the operator's command line. It calls the daemon over its socket, and imports nothing slow.

Annotations are read at run time here, so evaluation is not postponed.
"""

import sys
from functools import cache
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from api.cli.client.exit_codes import Code, Failed, code_of
from api.cli.command import RuntimeOption, StateOption
from api.cli.commands import (
    agent_call,
    agents,
    attach,
    attention,
    audit,
    backup,
    conversations,
    cp,
    dashboard,
    deploys,
    diff,
    digest,
    doctor,
    down,
    edit,
    events,
    history,
    install_service,
    login,
    logs,
    man,
    messages,
    network,
    pod,
    proposals,
    rebuild,
    reconcile,
    serve,
    shell,
    status,
    turn,
    usage,
    wire,
    workspace,
)
from api.cli.render import console
from api.cli.startup import avoid_pydantic, avoid_rich
from api.cli.terminal import streams
from meta.errors import BadInput, HiveError
from meta.process import ambient
from meta.process.privilege import require_proc

HELP = """hive runs a swarm of coding agents, each in its own container,
and keeps reality equal to what is written in git.

To begin, with `hive serve` in another terminal: `hive spawn alice --wait`; clone STATE/push/alice.git, commit
a change, `git push origin HEAD:my-topic`; `hive diff 1`; `hive approve 1 --wait`.
"""
VersionOption = Annotated[bool, typer.Option("--version", is_eager=True, help="print the version")]


PARTS = (
    status,
    attention,
    dashboard,
    proposals,
    diff,
    history,
    events,
    digest,
    usage,
    logs,
    deploys,
    edit,
    agents,
    turn,
    pod,
    network,
    down,
    login,
    shell,
    workspace,
    cp,
    rebuild,
    messages,
    conversations,
    attach,
    serve,
    install_service,
    reconcile,
    doctor,
    backup,
    audit,
    wire,
    agent_call,
    man,
)
"""The modules with commands, in the order of the help."""


def application() -> typer.Typer:
    """Return the parser with every command."""
    app = typer.Typer(
        name="hive",
        help=HELP,
        no_args_is_help=True,
        invoke_without_command=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for part in PARTS:
        part.register(app)
    return app


def _root(
    ctx: typer.Context, state: StateOption = None, runtime: RuntimeOption = None, version: VersionOption = False
) -> None:
    """Options before the command. `api.cli.command.find` reads --state and --runtime."""
    if version:
        from importlib.metadata import version as installed

        console.write(f"hive {installed('hive')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        raise BadInput("no command is given", "`hive --help`")


def parser() -> TyperGroup:
    """Return the parser, ready to run."""
    avoid_rich()
    return _group()


@cache
def _group() -> TyperGroup:
    """Return every command. They are made once in a process, in which tests and stories run many."""
    group = get_command(application())
    if not isinstance(group, TyperGroup):
        raise TypeError("typer did not make a group of the commands")
    avoid_pydantic(group)
    return group


def main(arguments: list[str] | None = None) -> None:
    """Run `hive` and exit with one of the codes in api/cli/client/exit_codes.py."""
    streams.settle()
    sys.exit(_end(execute(arguments)))


def execute(arguments: list[str] | None) -> int:
    """Run `hive` and return the exit code. A completion exits by itself."""
    ambient.settle()
    try:
        require_proc()
        code = parser().main(args=arguments, prog_name="hive", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else Code.OK
    except HiveError as error:
        console.write_error(error)
        return code_of(error)
    except typer.TyperException as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        console.progress("\nhive: interrupted")
        return Code.INTERRUPTED
    except BrokenPipeError:  # the reader ended (`hive log | head`)
        return Code.OK
    except UnicodeError as error:
        console.write_error(BadInput(f"not text in UTF-8: {error}", "type or convert it again"))
        return Code.USAGE
    except OSError as error:
        console.write_error(problem := _failure(error))
        return code_of(problem)


def _failure(error: OSError) -> Failed:
    """Return the error for `error`, which no command expected: most often the output that cannot be written."""
    if error.filename is None and error.errno in streams.OF_A_STREAM:
        return Failed(f"cannot write the output: {error.strerror}", "the work itself is done, or goes on")
    place = f"{error.filename}: " if error.filename else ""
    return Failed(f"{place}{error.strerror or error}", "see `hive doctor`")


def _end(code: int) -> int:
    """Write what is buffered, and return the exit code. Python would report a failure here in its own words."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        streams.discard(sys.stdout)
    except (OSError, ValueError) as error:
        if code == Code.OK and isinstance(error, OSError):
            console.write_error(_failure(error))
            code = Code.FAILED
        streams.discard(sys.stdout)
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        streams.discard(sys.stderr)
    return code


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        console.write(error.format_message())
        return Code.USAGE
    path = getattr(context, "command_path", "hive")
    console.write_error(HiveError(error.format_message(), f"`{path} --help`"))
    return Code.USAGE


if __name__ == "__main__":
    main()
