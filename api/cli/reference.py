"""Write docs/reference/cli.md from the parser: `python -m api.cli.reference`. A test checks that it is current."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import typer

from api.cli.client.exit_codes import MEANINGS
from api.cli.command import DAEMON, DECIDE, LOOK, RUN
from api.cli.commands.man import leaves
from api.cli.commands.messages import TALK
from api.cli.main import parser

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"
PANELS = (LOOK, DECIDE, RUN, TALK, DAEMON)
COMMON = {"state", "runtime", "help"}

INTRODUCTION = """<!-- written by `python -m api.cli.reference`; edit the commands in api/cli instead -->
# The command line

`hive` calls the daemon over its socket. Every command finds the daemon by the same settings, which stand before the
command or behind it (`hive --state X status`, `hive status --state X`):

| option | variable | default |
|---|---|---|
| `--state DIR` | `HIVE_STATE` | `./.hive` if it is there (`hive serve` makes it), else `/var/lib/hyperhive` |
| `--runtime DIR` | `HIVE_RUNTIME` | `STATE/run`, or `/run/hyperhive` for `/var/lib/hyperhive` |

An option beats the environment. `HIVE_RUNTIME` belongs to `HIVE_STATE`: with `--state` only `--runtime` counts, so that
no command reaches the hive of the environment by mistake. `--runtime` alone leaves `HIVE_STATE` as it is.
An empty path (`--state "$UNSET"`) is an error for every option and argument that takes one.

What destroys asks first: `destroy`, `deny --all`, `cancel`, `cancel-loose-end`, `dead-letters --discard`, `backup` onto
a file, `restore --force` and `--only`, `doctor --fix` if it removes something. Without a terminal on stdin it needs
`--yes`, and ends with 2 without it.

A daemon that does not answer ends every command after 15 to 20 seconds, with code 6, later on a busy host; a slow
answer is waited for as long as the daemon answers others. If the daemon has a request that changes something, it may
still do it once it answers: the error says so, and names the command that shows it. Look before you repeat it; a
message with `--key` can be sent again. `--wait`, `--follow` and `--watch` go on after a restart of the daemon, and no
event is lost or repeated. Ctrl-C ends `--wait` and `--follow` with 130 and names the command that looks again; the work
goes on.

An output that cannot be written (a full disk, a closed stdout) is one line on stderr and code 1; the work itself is
done. If the output is not in UTF-8, other characters are escapes, and JSON stays the same value. Text from stdin has to
be UTF-8.

Text is for people and may change; `--json` is for programs. Control characters in an agent's text are printed as
escapes. An error has one line about what is wrong and one line about what to do, on stderr:

    hive: there is no agent bob
      try: see `hive list`

`hive --install-completion` completes commands, agents' names and proposals' ids in your shell, and
`hive man` has this page as man pages: see [in your shell](../howto/shell.md).
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *_codes(), *_commands()]) + "\n"


def _codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | means |\n|---|---|"
    yield from (f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items())
    yield ""


def _commands() -> Iterator[str]:
    commands = list(leaves(parser()))
    for panel in PANELS:
        yield f"## {panel}\n"
        for name, place, command in commands:
            if place == panel:
                context = typer.Context(command, info_name=f"hive {name}")
                yield f"### hive {name}\n"
                yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
                yield f"{inspect.cleandoc(command.help or '')}\n"
                yield from _parameters(command.get_params(context), context)
                yield from (f"    {line}" for line in (command.epilog or "").split("\n\n")[1:])
                yield ""


def _parameters(params: object, context: typer.Context) -> Iterator[str]:
    rows = []
    for param in params if isinstance(params, list) else []:
        record = None if param.name in COMMON else param.get_help_record(context)
        if record is not None:
            name = " ".join(word for word in record[0].split() if not word.startswith("<"))
            rows.append(f"| `{name}` | {record[1].replace('|', '/')} |")
    if rows:
        yield from ("| | |", "|---|---|", *rows, "")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
