"""`hive edit`: edit an agent's settings, and propose the change."""

import os
from pathlib import Path
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.http import Client, Row
from api.cli.command import DECIDE, AgentArgument, JsonOption, MessageOption, command
from api.cli.commands.deploys import show_card
from api.cli.render import console
from api.cli.terminal.confirm import has_terminal
from api.cli.terminal.streams import read_stdin
from api.words import texts, times
from api.words.users import person, with_names
from meta.agent_toml.guide import with_guide, without_guide
from meta.errors import BadInput, HiveError, Occupied, PermanentError
from meta.text import command_line

SOURCE = "edit#agent.toml"
"""The source of a proposal that an edit made."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive edit alice", "hive edit alice --from 7 -m 'a shorter prompt'", "hive edit alice --file new.toml")
    command(app, "edit", DECIDE, examples=examples)(edit)


StartOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="ID",
        help="start from the settings of this id or commit",
        autocompletion=completion.versions,
        show_default="what is deployed",
    ),
]
FileOption = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="read the text from this file, - for stdin, instead of an editor"),
]
ReplaceOption = Annotated[
    int | None,
    typer.Option(
        "--replace",
        metavar="ID",
        help="take the place of this edit, which waits; else hive asks, or refuses",
        autocompletion=completion.pending,
    ),
]


def edit(
    client: Client,
    agent: AgentArgument,
    start: StartOption = None,
    file: FileOption = None,
    replace: ReplaceOption = None,
    message: MessageOption = "",
    json: JsonOption = False,
) -> None:
    """Edit an agent's agent.toml in $VISUAL or $EDITOR, and propose what you saved.

    The editor shows the keys below the text, as comments that are not saved.

    hive commits it on top of what is deployed. If nothing was changed, nothing is proposed. If the text is not valid,
    you can edit it again; it is kept in a file whose path is printed. One edit of an agent waits at a time: yours takes
    the place of another one only if you say so.
    """
    settings = client.row(f"/api/agents/{agent}/settings", {"at": start})
    place = Place(client, agent, replace if replace is not None else _number(start))
    kept: Path | None = None
    if file is not None:
        text = without_guide(_read(file), settings["text"])
    else:
        place.ask()
        kept = _file(agent, with_guide(settings["text"]))
        text = _edit_until_valid(agent, kept, settings["text"])
    if text == settings["text"] and not (file or start):
        _remove(kept)
        console.progress("nothing was changed, so nothing is proposed")
        return
    card = _propose(place, {"text": text, "description": message, "base": settings["base"]}, kept)
    id = card["id"]
    show_card(
        card,
        json,
        f"proposal {id} for {agent} is commit {texts.short_commit(card['fetched_sha'])}",
        f"next: `hive diff {id}`, then `hive approve {id}` or `hive deny {id} --reason ...`",
    )


class Place:
    """The place of the one edit of an agent that waits. `replaces` is the edit whose place the user takes."""

    def __init__(self, client: Client, agent: str, replaces: int | None) -> None:
        self.client = client
        self.agent = agent
        self.replaces = replaces

    def ask(self) -> bool:
        """Ask whether to take the place of the edit that waits. Raise Occupied if the user does not want to, or if
        there is no terminal to ask on. Return False if none waits.
        """
        card = self._waiting()
        if card is None:
            return False
        id = card["id"]
        age = times.age(card["requested_at"])
        text = f"proposal {id}, the edit of {self.agent} by {person(card['proposed_by'])} {age} ago, still waits"
        if not has_terminal() or not typer.confirm(f"{text}. Take its place?", err=True):
            take = f"`hive edit {self.agent} --replace {id}` takes its place"
            raise Occupied(text, f"`hive edit {self.agent} --from {id}` goes on from it, {take}")
        self.replaces = id
        return True

    def post(self, body: Row) -> Row:
        """Propose the edit; ask again if another one came meanwhile."""
        path = f"/api/agents/{self.agent}/settings"
        while True:
            old = self._text()
            try:
                card = self.client.post(path, body | {"replaces": self.replaces})
            except Occupied as error:
                if not has_terminal() or not self.ask():
                    raise Occupied(with_names(error.summary), error.hint) from error
                continue
            if old is not None:
                kept = _file(f"{self.agent}-{self.replaces}", old)
                console.progress(f"{self.replaces} is superseded; its text is kept in {kept}")
            return card

    def _waiting(self) -> Row | None:
        cards = self.client.rows("/api/proposals", {"agent": self.agent})
        waiting = [card for card in cards if card["source"] == SOURCE and card["id"] != self.replaces]
        return waiting[-1] if waiting else None

    def _text(self) -> str | None:
        """Return the text whose place is taken, if it waits: hive drops it with the proposal."""
        cards = self.client.rows("/api/proposals", {"agent": self.agent}) if self.replaces is not None else []
        if not any(card["source"] == SOURCE and card["id"] == self.replaces for card in cards):
            return None
        return str(self.client.row(f"/api/agents/{self.agent}/settings", {"at": str(self.replaces)})["text"])


def _number(start: str | None) -> int | None:
    """Return the id that the edit starts from: its place is taken without a question."""
    return int(start) if start is not None and start.isascii() and start.isdigit() and len(start) < 7 else None


def _propose(place: Place, body: Row, kept: Path | None) -> Row:
    """Propose the text, and return the card. The file is removed only if that worked."""
    try:
        card = place.post(body)
    except HiveError:
        if kept is not None:
            command = command_line("hive", "edit", place.agent, "--file", kept)
            console.progress(f"your text is kept in {kept}; `{command}` tries it again")
        raise
    _remove(kept)
    return card


def _read(file: str) -> str:
    try:
        return read_stdin() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8", "agent.toml is text in UTF-8") from error


def _file(agent: str, text: str) -> Path:
    """Write the text to a new file in a directory that only this user may enter."""
    import tempfile  # slow to import, as is shlex below

    path = Path(tempfile.mkdtemp(prefix="hive-edit-")) / f"{agent}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _remove(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)
        for rest in path.parent.iterdir():  # such as a backup that the editor made
            rest.unlink(missing_ok=True)
        path.parent.rmdir()


def _edit_until_valid(agent: str, path: Path, before: str) -> str:
    """Return the saved text once it is valid. Raise BadInput with the path of the file if the user gives up."""
    import shlex

    from api.cli.terminal.terminal import foreground

    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    while True:
        code = foreground([*editor, str(path)])
        text = without_guide(_read(str(path)), before)
        if code != 0 and text == before:
            _remove(path)
            raise PermanentError(f"{editor[0]} ended with {code}, and nothing was changed", "set VISUAL or EDITOR")
        complaint = None if text == before else _error_in(text)
        if complaint is None and code == 0:
            return text
        command = command_line("hive", "edit", agent, "--file", path)
        again = f"your text is kept in {path}; correct it, then run `{command}`"
        if complaint is None:
            raise PermanentError(f"{editor[0]} ended with {code}, so nothing is proposed", again)
        console.write_error(complaint)
        if not has_terminal() or not typer.confirm("Edit it again?", default=True, err=True):
            raise BadInput("the settings are not valid, so nothing is proposed", again)


def _error_in(text: str) -> HiveError | None:
    """Return what is wrong with `text`: the error that the daemon would raise."""
    from meta.agent_toml.settings import parse_settings  # imports pydantic, which is slow, but not after an editor

    try:
        parse_settings(text.encode())
    except BadInput as error:
        return error
    return None
