"""`hive edit`: an agent's settings in an editor, and what was changed as a proposal."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.http import Client
from api.cli.command import DECIDE, AgentArgument, JsonOption, command
from api.cli.render import output
from meta.errors import BadInput, HiveError, PermanentError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive edit alice", "hive edit alice --from 7 -m 'a shorter prompt'", "hive edit alice --file new.toml")
    command(app, "edit", DECIDE, examples=examples)(edit)


def edit(
    client: Client,
    agent: AgentArgument,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="ID",
            help="begin with the settings of this id or commit",
            autocompletion=completion.versions,
            show_default="what is deployed",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="take this text, - for stdin, instead of an editor")
    ] = None,
    message: Annotated[str, typer.Option("-m", "--message", metavar="TEXT", help="what the operator should know")] = "",
    json: JsonOption = False,
) -> None:
    """Edit an agent's agent.toml in $VISUAL or $EDITOR, and propose what you saved.

    hive commits it on top of what is deployed. Text that is unchanged proposes nothing; text that is not valid can be
    edited again, and stays in a file whose name is said.
    """
    found = client.row(f"/api/agents/{agent}/settings", {"at": start})
    kept: Path | None = None
    if file is not None:
        text = _given(file)
    else:
        kept = _file(agent, found["text"])
        text = _edited(kept, found["text"])
    if text == found["text"] and not (file or start):
        _forget(kept)
        output.progress("nothing was changed, so nothing is proposed")
        return
    body = {"text": text, "description": message, "base": found["base"]}
    try:
        card = client.post(f"/api/agents/{agent}/settings", body)
    except HiveError:
        if kept is not None:
            output.progress(f"your text is kept in {kept}; `hive edit {agent} --file {kept}` tries it again")
        raise
    _forget(kept)
    if json:
        output.say_json(card)
        return
    id = card["id"]
    output.say(f"proposal {id} for {agent} is commit {output.short(card['fetched_sha'])}")
    output.say(f"next: `hive diff {id}`, then `hive approve {id}` or `hive deny {id} --reason ...`")


def _given(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8", "agent.toml is text in UTF-8") from error


def _file(agent: str, text: str) -> Path:
    """A file of one's own: the directory is closed to others."""
    import tempfile  # it takes a while, as shlex does below

    path = Path(tempfile.mkdtemp(prefix="hive-edit-")) / f"{agent}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _forget(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)
        for left in path.parent.iterdir():  # what the editor left beside it
            left.unlink(missing_ok=True)
        path.parent.rmdir()


def _edited(path: Path, before: str) -> str:
    """What was saved, once it is valid. BadInput, which says where it is, when the person gives up."""
    import shlex

    from api.cli.terminal.terminal import foreground

    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    while True:
        code = foreground([*editor, str(path)])
        text = _given(str(path))
        if code != 0 and text == before:
            _forget(path)
            raise PermanentError(f"{editor[0]} ended with {code}, and nothing was changed", "set VISUAL or EDITOR")
        complaint = None if text == before else _complaint(text)
        if complaint is None and code == 0:
            return text
        again = f"your text is kept in {path}; mend it, then `hive edit ... --file {path}`"
        if complaint is None:
            raise PermanentError(f"{editor[0]} ended with {code}, so nothing is proposed", again)
        output.say_error(complaint)
        if not sys.stdin.isatty() or not typer.confirm("Edit it again?", default=True, err=True):
            raise BadInput("the settings are not valid, so nothing is proposed", again)


def _complaint(text: str) -> HiveError | None:
    """What is wrong with `text`, as the daemon would say it."""
    from meta.agent_toml.settings import parse_settings  # it needs pydantic, and an editor was open anyway

    try:
        parse_settings(text.encode())
    except BadInput as error:
        return error
    return None
