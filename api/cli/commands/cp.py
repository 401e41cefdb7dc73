"""`hive cp`: copy files and folders out of an agent's /state or home, or into it. The CLI copies, not the daemon."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from api.cli.client.exit_codes import Code
from api.cli.client.http import Client
from api.cli.command import RUN, JsonOption, command
from api.cli.render import console
from meta.errors import BadInput, NotFound, Refused
from meta.names import AgentName, agent_name
from meta.text import command_line, size

if TYPE_CHECKING:
    from reconciler.common.tree_copy import Bounds, Report

ENTRIES_MOST = 100_000
"""Files and folders of one copy."""
MIB_MOST = 1024
"""MiB of one copy, unless --max-mib is given."""
_RANGE = 2**16
"""Uids of one agent: a container of backend nixos has a range, which begins at a multiple of it."""
_HOME = PurePosixPath("/home/agent")


class Inside(NamedTuple):
    """AGENT:PATH. `folder` is the directory of the agent in hive's state directory, `parts` the names below it."""

    agent: AgentName
    folder: str
    parts: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The path as the agent sees it."""
        top = "/state" if self.folder == "state" else str(_HOME)
        return f"{self.agent}:{'/'.join((top, *self.parts))}"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = (
        "hive cp alice:/state/report.md .",
        "hive cp ./data alice:/state/",
        "hive cp alice:/home/agent/.config/tool tool",
    )
    command(app, "cp", RUN, examples=examples)(cp)


def cp(
    client: Client,
    source: Annotated[str, typer.Argument(metavar="FROM", help="AGENT:PATH, or a path here", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="TO", help="a path here, or AGENT:PATH", show_default=False)],
    force: Annotated[bool, typer.Option("--force", "-f", help="replace a file that exists")] = False,
    max_mib: Annotated[int, typer.Option("--max-mib", metavar="N", min=1, help="copy at most so much")] = MIB_MOST,
    json: JsonOption = False,
) -> None:
    """Copy a file or a folder from an agent, or to it: below its /state or its home, /home/agent.

    A PATH without / begins in /state. No symlink is followed, and only regular files and folders are copied; what is
    left out is named, and the exit code is 1. A copy belongs to you, or to the agent. A file that exists is replaced
    only with --force, a folder never. It needs no daemon, and the agent may be stopped.
    """
    from reconciler.common.tree_copy import Bounds

    report = _copy(client, source, target, Bounds(max_mib * 2**20, ENTRIES_MOST), force=force)
    if json:
        console.write_json(asdict(report))
    else:
        folders = f" in {report.folders} folder{'' if report.folders == 1 else 's'}" if report.folders else ""
        console.write(f"copied {report.files} file{'' if report.files == 1 else 's'}{folders}, {size(report.bytes)}")
        for path in report.left_out:
            console.progress(f"left out, as it is no regular file or folder of its owner: {path}")
    if report.left_out:
        raise typer.Exit(Code.FAILED)


def _copy(client: Client, source: str, target: str, bounds: "Bounds", *, force: bool) -> "Report":
    out, into = inside(source), inside(target)
    if out is not None and into is None:
        return _from_agent(client, out, Path(target), bounds, force=force)
    if into is not None and out is None:
        return _to_agent(client, Path(source), into, bounds, force=force)
    raise BadInput("one of the two is AGENT:PATH, the other a path here", "for example `hive cp alice:/state/a.txt .`")


def inside(text: str) -> Inside | None:
    """Return AGENT:PATH; None for a path here. Raise BadInput for a place that is not the agent's."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name or name in ("", ".", ".."):
        return None
    agent, parts = agent_name(name), PurePosixPath(path).parts
    if ".." in parts or "\0" in path:
        raise BadInput(f"{path!r} has `..` in it", "write the path without it")
    if parts[:1] != ("/",):
        return Inside(agent, "state", parts)
    for folder, top in (("state", PurePosixPath("/state")), ("home", _HOME)):
        if PurePosixPath(path).is_relative_to(top):
            return Inside(agent, folder, PurePosixPath(path).relative_to(top).parts)
    raise Refused(f"{path} is not below /state or {_HOME}", "`hive shell` reaches what else the agent sees")


def _from_agent(client: Client, source: Inside, target: Path, bounds: "Bounds", *, force: bool) -> "Report":
    from reconciler.common.tree_copy import Copy, Entry, opened

    if not source.parts:
        raise BadInput(f"{source.shown} is the whole folder", "name a thing in it; `hive backup --agents` has all")
    *way, name = source.parts
    folder, new = (target, name) if target.is_dir() and not target.is_symlink() else (target.parent, target.name)
    with _top(client, source) as top, opened(top, way, source.shown) as inner, _here(folder) as here:
        uid = os.fstat(top).st_uid
        copy = Copy(bounds, lambda owner: _is_same_agent(uid, owner))
        return copy.run(Entry(inner, name, source.shown), Entry(here, new, str(folder / new)), force=force)


def _to_agent(client: Client, source: Path, target: Inside, bounds: "Bounds", *, force: bool) -> "Report":
    from reconciler.common.tree_copy import Copy, Entry, is_folder, opened

    source = Path(os.path.normpath(source.absolute()))
    if not source.name:
        raise BadInput(f"{source} cannot be copied", "name a file or a folder")
    with _top(client, target) as top, contextlib.ExitStack() as stack:
        way, name = list(target.parts), source.name
        if way and not is_folder(top, way, target.shown):
            name = way.pop()
        folder = stack.enter_context(opened(top, way, target.shown))
        here = stack.enter_context(_here(source.parent))
        uid, owner = os.fstat(top).st_uid, os.fstat(folder)
        if not _is_same_agent(uid, owner.st_uid):
            raise Refused(
                f"{target.shown} belongs to uid {owner.st_uid}, another than the agent's", "name another place"
            )
        gives = (owner.st_uid, owner.st_gid) if owner.st_uid != os.geteuid() else None
        shown = "/".join((Inside(target.agent, target.folder, tuple(way)).shown, name))
        copy = Copy(bounds, lambda _: True, gives)
        return copy.run(Entry(here, source.name, str(source)), Entry(folder, name, shown), force=force)


@contextlib.contextmanager
def _top(client: Client, place: Inside) -> Iterator[int]:
    """Open the agent's /state or home, below the state directory, name by name."""
    from reconciler.common.tree_copy import opened

    state = client.where.state
    with _here(state) as descriptor:
        try:
            with opened(descriptor, ("agents", place.agent, place.folder), f"{place.agent} in {state}") as top:
                yield top
        except PermissionError as error:
            words = ("sudo", "hive", "cp", "...", *client.where.options())
            raise Refused(f"you may not enter {state / 'agents' / place.agent}", f"`{command_line(*words)}`") from error


@contextlib.contextmanager
def _here(folder: Path) -> Iterator[int]:
    """Open a folder that the caller named."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no folder {folder}", "make it first, or name another") from error
    except PermissionError as error:
        raise Refused(f"you may not read {folder}", "as root, or as the user that runs hive") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_same_agent(uid: int, owner: int) -> bool:
    """Return True if `owner` is the agent whose folder belongs to `uid`, or another uid of its container."""
    return owner == uid or (uid >= _RANGE and owner // _RANGE == uid // _RANGE)
