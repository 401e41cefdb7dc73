"""Save a hive to a file and restore it: backup, restore."""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.client.http import Client, Row, cut_off, lost, unanswered
from api.cli.command import DAEMON, JsonOption, YesOption, command
from api.cli.render import console
from api.cli.terminal.confirm import confirm
from api.words import texts, times
from meta.errors import BadInput, HiveError, NotFound, TransientError
from meta.text import command_line

if TYPE_CHECKING:
    from meta.layout import Layout
    from reconciler.upkeep.backups.archive import Manifest

ANSWER_DEADLINE = 600.0
"""Seconds to wait for the next byte of the answer. The daemon makes the whole tar before it sends the first."""
HEAD_LIMIT = 65_536


class Only(StrEnum):
    """A part that can be restored alone."""

    META = "meta"
    APPLIED = "applied"
    DATABASE = "database"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    examples = ("hive backup hive.tar.gz", "hive backup /media/usb/hive.tar --agents --proposed")
    command(app, "backup", DAEMON, examples=examples)(backup)
    examples = ("hive restore hive.tar.gz --state /var/lib/hyperhive", "hive restore hive.tar.gz --only database")
    command(app, "restore", DAEMON, examples=examples)(restore)


def backup(
    client: Client,
    file: Annotated[str, typer.Argument(metavar="FILE", help="the file to write; .tar, or .tar.gz to compress")],
    proposed: Annotated[bool, typer.Option("--proposed", help="include the proposed work trees")] = False,
    agents: Annotated[
        bool, typer.Option("--agents", help="include agents' /state and homes, which hold credentials")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Write repos, tags, database and settings to one file. It is consistent even while the daemon runs.

    It asks before it replaces a file. Secrets and what can be built again are left out. With --agents it holds the
    agents' logins: protect it like them.
    """
    target = Path(file).absolute()
    if not target.name.endswith((".tar", ".tar.gz", ".tgz")):
        raise BadInput(f"{target.name!r} is not a name for a backup", "end it in .tar, or in .tar.gz to compress it")
    if not target.parent.is_dir():  # checked first, or the daemon would make the tar in vain
        raise NotFound(f"there is no directory {target.parent}", "create it first")
    if os.path.lexists(target):
        confirm(f"{target} exists and will be replaced", yes=yes)
    sock = _connect(client)
    if sock is None:
        manifest = _without_daemon(client, target, proposed, agents)
    else:
        with sock:
            _from_daemon(client, sock, target, proposed, agents)
        manifest = _read(target)
    _show_backup(target, manifest, json)


def restore(
    client: Client,
    file: Annotated[str, typer.Argument(metavar="FILE", help="a backup")],
    force: Annotated[bool, typer.Option("--force", help="move an existing state directory aside")] = False,
    only: Annotated[
        Only | None, typer.Option("--only", help="replace one part and keep the rest; agents may keep running")
    ] = None,
    new_owner: Annotated[
        bool,
        typer.Option("--new-owner", help="give it a new id: needed for a copy beside the original on the same machine"),
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Restore a backup into an empty or absent state directory, while no daemon runs there.

    With --force and --only it asks before it replaces what is there. The whole backup is checked before anything is
    replaced. Run `hive audit verify` next, then `hive serve`.
    """
    from reconciler.upkeep.backups.restore import Part
    from reconciler.upkeep.backups.restore import restore as bring_back

    if force and only is not None:
        raise BadInput("--force replaces everything, --only one part", "give only one of them")
    layout = _layout(client)
    part = Part(only) if only else None
    if (force or only) and layout.state.is_dir() and any(layout.state.iterdir()):
        what = f"{only} in {layout.state}" if only else f"what is in {layout.state}"
        confirm(f"{what} will be moved aside, and the backup takes its place", yes=yes)
    done = bring_back(Path(file).absolute(), layout, force=force, only=part, new_owner=new_owner)
    if json:
        aside = [str(path) for path in done.aside]
        console.write_json({"state": str(layout.state), "aside": aside, **_row(done.manifest)})
        return
    what = f"{only} of " if only else ""
    console.write(f"restored {what}the backup of {times.local_time(done.manifest.made_at)} to {layout.state}")
    for path in done.aside:
        console.write(f"the earlier state is in {path}")
    differing = _differing(done.manifest)
    if differing and only is None:
        console.write("settings that were in effect for the backup and are not now:")
        for line in differing:
            console.write(f"  {line}")
    audit = command_line("hive", "audit", "verify", *client.where.options())
    console.write(f"next: `{audit}`, then `{client.where.serve_command()}`")


def _without_daemon(client: Client, target: Path, proposed: bool, agents: bool) -> "Manifest":
    import asyncio

    from meta.config import config_from_environment
    from reconciler.common.revision import revision
    from reconciler.upkeep.backups.write import Origin, Wanted, held, write

    layout = _layout(client)
    client.where.require_own_files()
    if not layout.state.is_dir():
        raise NotFound(f"no daemon answers, and there is no {layout.state}", "point at the hive with --state")
    origin = Origin(config_from_environment(), "command", revision())
    with held(layout):
        wanted = Wanted(proposed, agents)
        return asyncio.run(write(layout, target, wanted, origin, contextlib.nullcontext()))


def _from_daemon(client: Client, sock: socket.socket, target: Path, proposed: bool, agents: bool) -> None:
    """Write the daemon's tar to a file beside `target`, then rename that file."""
    import json

    wanted = {"proposed": proposed, "agents": agents, "compressed": target.name.endswith("gz")}
    data = json.dumps(wanted).encode()
    head = ["POST /api/backup HTTP/1.0", "Host: hive", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    request = "\r\n".join([*head, "", ""]).encode() + data
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for block in _answer(_exchange(client, sock, request)):
                file.write(block)
            file.flush()
            os.fsync(descriptor)
        scratch.rename(target)
    except OSError as error:
        raise TransientError(f"cannot write {target}: {error.strerror or error}", "look at the disk") from error
    finally:
        scratch.unlink(missing_ok=True)


def _connect(client: Client) -> socket.socket | None:
    """Return a connection to the daemon, None if no daemon answers."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_DEADLINE)
    try:
        client.where.connect(sock, client.where.http)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            return None
        raise
    return sock


def _exchange(client: Client, sock: socket.socket, request: bytes) -> Iterator[bytes]:
    """Send `request` and yield what the daemon sends until it closes the connection."""
    try:
        sock.sendall(request)
        while block := client.receive(sock, ANSWER_DEADLINE):
            yield block
    except OSError as error:
        raise lost(client.where, error) from error


def _answer(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the body of the answer. Raise the daemon's error, or Unreachable if the answer is cut off."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < HEAD_LIMIT:
        part = next(blocks, b"")
        if not part:
            raise unanswered()
        received += part
    head, _, rest = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), -1)
    received_bytes = len(rest)
    parts = [rest]
    succeeded = lines[0].split(" ")[1:2] == ["200"]
    while True:
        if succeeded:
            yield from parts
            parts = []
        block = next(blocks, b"")
        if not block:
            break
        received_bytes += len(block)
        parts.append(block)
    if not succeeded:
        raise _error(b"".join(parts))
    if received_bytes != length:
        raise cut_off()


def _error(body: bytes) -> HiveError:
    import json

    from api.http.problems import error_from

    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    return error_from(problem if isinstance(problem, dict) else {})


def _read(target: Path) -> "Manifest":
    from reconciler.upkeep.backups.extract import manifest_of

    return manifest_of(target)


def _layout(client: Client) -> "Layout":
    from meta.layout import Layout

    return Layout(client.where.state.resolve(), client.where.runtime.resolve())


def _show_backup(target: Path, manifest: "Manifest", json: bool) -> None:
    if json:
        console.write_json({"file": str(target), **_row(manifest)})
        return
    size = target.stat().st_size
    console.write(f"{target}: {len(manifest.files)} files, {size} bytes, meta at {texts.short_commit(manifest.meta)}")
    if manifest.credentials:
        console.write("it holds the agents' /state and homes with their CREDENTIALS: protect it like them")
    if manifest.skipped:
        kinds = "logins, links, sockets, devices, odd names or files under a lease"
        owners = _owners(manifest.skipped)
        console.write(f"left out: {len(manifest.skipped)} {kinds}{owners} (--json lists them)")


def _owners(skipped: Iterable[str]) -> str:
    """Return " of " and the agents that the files in `skipped` belong to, "" if they are of no agent."""
    parts = [path.strip("'\"").split("/") for path in skipped]  # an odd name is quoted
    names = sorted({part[1] for part in parts if part[0] in ("agents", "proposed") and len(part) > 1})
    return f" of {', '.join(names)}" if names else ""


def _row(manifest: "Manifest") -> Row:
    row = asdict(manifest)
    row["files"] = len(manifest.files)
    return row


def _differing(manifest: "Manifest") -> list[str]:
    from meta.config import config_from_environment
    from reconciler.upkeep.backups.packing import effective

    now = effective(config_from_environment())
    return [f"{key}={value}" for key, value in sorted(manifest.settings.items()) if now.get(key) != value]
