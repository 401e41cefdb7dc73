"""`hive`: the operator's command line. It talks to the daemon over its socket and imports nothing heavy.

Annotations are read at run time here, so evaluation is not postponed.
"""

import os
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from api.cli.client.exit_codes import Code, code_of
from api.cli.commands import (
    agent_call,
    agents,
    audit,
    backup,
    daemon,
    doctor,
    edit,
    history,
    logs,
    look,
    man,
    messages,
    proposals,
    rebuild,
    shell,
    status,
    wire,
)
from api.cli.render import output
from api.cli.startup import spare_pydantic, spare_rich
from meta.errors import HiveError
from meta.process import ambient
from meta.process.privilege import require_proc

HELP = """hive runs a swarm of coding agents, each in its own container,
and keeps reality equal to what is written in git.

A first round, with `hive serve` in another terminal: `hive spawn alice --wait`; clone STATE/applied/alice/.git, commit
a change, `git push STATE/proposed/alice/push.git HEAD:my-topic`; `hive diff 1`; `hive approve 1 --wait`.
"""
VersionOption = Annotated[bool, typer.Option("--version", is_eager=True, help="say which hive this is")]


PARTS = (
    status,
    look,
    history,
    logs,
    proposals,
    edit,
    agents,
    shell,
    rebuild,
    messages,
    daemon,
    doctor,
    backup,
    audit,
    wire,
    agent_call,
    man,
)
"""Modules with commands, in the order in which help lists them."""


def application() -> typer.Typer:
    """The parser with every command."""
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


def _root(version: VersionOption = False) -> None:
    if version:
        from importlib.metadata import version as installed

        output.say(f"hive {installed('hive')}")
        raise typer.Exit


def parser() -> TyperGroup:
    """The parser, ready to run."""
    group = get_command(application())
    if not isinstance(group, TyperGroup):
        raise TypeError("hive has several commands, so typer makes a group")
    spare_pydantic(group)
    spare_rich()
    return group


def main(arguments: list[str] | None = None) -> None:
    """Run `hive` and exit with one of the codes in api/cli/client/exit_codes.py."""
    sys.exit(execute(arguments))


def execute(arguments: list[str] | None) -> int:
    """Run `hive` and return the exit code. Only completion exits by itself."""
    ambient.settle()
    try:
        require_proc()
        code = parser().main(args=arguments, prog_name="hive", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else Code.OK
    except HiveError as error:
        output.say_error(error)
        return code_of(error)
    except typer.TyperException as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\nhive: interrupted\n")
        return Code.INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`hive log | head`); what is still buffered must not fail at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.OK


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        output.say(error.format_message())
        return Code.USAGE
    path = getattr(context, "command_path", "hive")
    output.say_error(HiveError(error.format_message(), f"`{path} --help`"))
    return Code.USAGE


if __name__ == "__main__":
    main()
