"""`hive man`: man pages from the parser, `hive(1)` and one `hive-<command>(1)` for each command, as roff."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from api.cli.client.exit_codes import MEANINGS
from api.cli.command import LOOK, epilog
from api.cli.render import console
from meta.errors import NotFound, PermanentError

if TYPE_CHECKING:
    from typer._click.core import Command
    from typer.core import TyperGroup

OVERVIEW = "hive"


class Leaf(NamedTuple):
    """A command that is not a group: its name after `hive`, and its heading in the help."""

    name: str
    panel: str
    command: "Command"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive man approve | man -l -", "hive man --write ~/.local/share/man/man1")
    app.command("man", rich_help_panel=LOOK, epilog=epilog(examples))(man)


def man(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help="which page", show_default="the overview, hive(1)")
    ] = None,
    write: Annotated[str | None, typer.Option("--write", metavar="DIR", help="write every page into DIR")] = None,
) -> None:
    """Print the manual as man pages, made from the commands themselves."""
    page_texts = pages(cast("TyperGroup", ctx.find_root().command))
    if write is not None:
        _write(page_texts, Path(write).expanduser())
        return
    wanted = OVERVIEW if name in (None, OVERVIEW) else f"hive-{name}"  # a command of a group is wire-canonical
    if wanted not in page_texts:
        raise NotFound(f"there is no command {name}", "see `hive --help`")
    console.write(page_texts[wanted].rstrip("\n"))


def pages(group: "TyperGroup") -> dict[str, str]:
    """Return every page of a parser by its name without the section."""
    commands = list(leaves(group))
    page_texts = {OVERVIEW: "\n".join(_overview(group, commands)) + "\n"}
    for leaf in commands:
        page_texts[f"hive-{leaf.name.replace(' ', '-')}"] = "\n".join(_page(leaf.name, leaf.command)) + "\n"
    return page_texts


def leaves(group: "TyperGroup") -> Iterator[Leaf]:
    """Yield every command. The name of a command in a group has both words."""
    for name, command in group.commands.items():
        panel = str(getattr(command, "rich_help_panel", ""))
        below: dict[str, Command] = getattr(command, "commands", {})
        if below:
            yield from (Leaf(f"{name} {word}", panel, each) for word, each in below.items())
        else:
            yield Leaf(name, panel, command)


def _write(page_texts: dict[str, str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in page_texts.items():
            (folder / f"{name}.1").write_text(text, encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"cannot write {error.filename}: {error.strerror}", "choose another DIR") from error
    console.write(f"{len(page_texts)} pages are in {folder}; `man hive` finds them if that is on the manpath")


def _overview(group: "TyperGroup", commands: list[Leaf]) -> Iterator[str]:
    yield from _begin(OVERVIEW, "run a swarm of coding agents and keep them equal to git")
    yield from (".SH SYNOPSIS", ".B hive", ".I COMMAND", r"[\fIARGUMENT\fR ...]")
    yield ".SH DESCRIPTION"
    yield from _prose(group.help or "")
    for panel in dict.fromkeys(leaf.panel for leaf in commands):
        yield f".SH {_text(panel.upper())}"
        for leaf in commands:
            if leaf.panel == panel:
                name = _text(leaf.name.replace(" ", "-"))
                yield from (".TP", f".BR hive\\-{name} (1)", _text(_first(leaf.command.help)))
    yield ".SH EXIT STATUS"
    for code, meaning in MEANINGS.items():
        yield from (".TP", f".B {code.value}", _text(meaning.replace("`", "")))
    yield ".SH ENVIRONMENT"
    yield from (".TP", ".B HIVE_STATE", "the daemon's state directory")
    yield from (".TP", ".B HIVE_RUNTIME", "the directory of its sockets")
    yield from (".TP", ".B NO_COLOR", "no colours on a terminal, if it is set and not empty")


def _page(name: str, command: "Command") -> Iterator[str]:
    context = typer.Context(command, info_name=f"hive {name}")
    yield from _begin(f"hive-{name.replace(' ', '-')}", _first(command.help))
    yield from (".SH SYNOPSIS", f".B hive {_text(name)}", _text(" ".join(command.collect_usage_pieces(context))))
    yield ".SH DESCRIPTION"
    yield from _prose(command.help or "")
    records = [param.get_help_record(context) for param in command.get_params(context)]
    shown = [record for record in records if record is not None]
    if shown:
        yield ".SH OPTIONS"
        for left, right in shown:
            yield from (".TP", f".B {_text(_plain(left))}", _text(" ".join(right.split())))
    examples = (command.epilog or "").split("\n\n")[1:]
    if examples:
        yield from (".SH EXAMPLES", ".nf", *map(_text, examples), ".fi")
    yield from (".SH SEE ALSO", ".BR hive (1)")


def _plain(names: str) -> str:
    """Return the names without the type behind an argument's name."""
    return " ".join(word for word in names.split() if not word.startswith("<"))


def _begin(name: str, about: str) -> Iterator[str]:
    yield r".\" made by `hive man`"
    yield f'.TH {_text(name.upper())} 1 "" hive "hive"'
    yield from (".SH NAME", f"{_text(name)} \\- {_text(about.rstrip('.'))}")


def _prose(text: str) -> Iterator[str]:
    """Yield the paragraphs, line by line."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        yield from map(_text, paragraph.replace("`", "").splitlines())


def _first(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].replace("`", "").split())


def _text(text: str) -> str:
    """Escape `text` for roff: it has no requests and no escapes, and its hyphens can be copied."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
