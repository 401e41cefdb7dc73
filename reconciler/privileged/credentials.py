"""Credentials of agents: files of the host's root, whose paths a container's start passes on. None is ever opened here.

The host's configuration writes a list, which is read at each start; the agent's system says which of them it needs:

    /etc/hive/credentials.json              {"version": 1, "agents": {"alice": {"github-token": "/run/secrets/alice"}}}
    <system>/etc/hive/credentials.json      ["github-token"]

systemd-nspawn reads the files. So a changed one arrives with the agent's next start.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from meta.errors import BadInput, Refused, TransientError
from meta.names import AgentName
from reconciler.privileged import values
from reconciler.privileged.conf import PLAIN_PATH, Credential

IDS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""The form of an id. It has no dot: every credential that systemd itself obeys (`tmpfiles.extra`) has one."""

NEEDED = "etc/hive/credentials.json"
"""The file of a system with the ids that its agent needs."""

BYTES = 2**20
"""Bytes of an agent's credentials together, at most: systemd passes no more to a unit."""

_LIMIT = 64 * 1024
_LINKS = 40
_OTHERS_WRITE = 0o022
_ALL_READ = 0o007


class Hidden(TransientError):
    """A file that this user may not look at. It never happens to root."""


def given(path: Path, root: int = 0) -> Mapping[AgentName, Mapping[str, Credential]]:
    """Return the credentials that the list at `path` gives to each agent, by id. Without a list no agent has one.

    Raise Refused for a list that others may write, or that is wrong in any part.
    """
    hint = f"{path} is written by the module of NixOS from services.hive.credentials; switch to it again"
    try:
        content = _read(path, (0, root))
        return _agents(content) if content is not None else {}
    except BadInput as error:
        raise Refused(f"the list of credentials is wrong: {error.summary}", hint) from error


def needed(system: str, store: str) -> tuple[str, ...]:
    """Return the ids that a system's agent needs. Raise Refused if the file is not such a list in the store."""
    path = Path(system) / NEEDED
    if not os.path.lexists(path):
        return ()
    real, hint = Path(os.path.realpath(path)), "set hive.agent.credentials, and leave the file to it"
    try:
        if not real.is_relative_to(os.path.realpath(store)):
            raise BadInput("it leads out of the store")
        content = _read(real, None)
        ids: object = json.loads(content or "")
        if not isinstance(ids, list):
            raise BadInput("it is not a list")
        return tuple(sorted({_id(each) for each in ids}))
    except (ValueError, RecursionError, BadInput) as error:
        why = error.summary if isinstance(error, BadInput) else "it is not JSON"
        raise Refused(f"{NEEDED} of the agent's system is wrong: {why}", hint) from error


def for_start(
    name: AgentName, own: Mapping[str, Credential], ids: tuple[str, ...], store: str, root: int = 0
) -> tuple[Credential, ...]:
    """Return what a start passes on: what the agent needs, each file checked.

    Raise Refused, or TransientError for a file that is missing.
    """
    size = 0
    for id in ids:
        if id not in own:
            raise Refused(
                f"{name} needs the credential {id}, and the host gives it none of that name",
                f"set services.hive.credentials.{name}.{id}, or take it out of hive.agent.credentials",
            )
        size += _size(name, own[id], store, root)
    if size > BYTES:
        raise Refused(f"the credentials of {name} have {size} bytes", f"{BYTES} are passed on, at most")
    return tuple(own[id] for id in ids)


def _size(name: AgentName, credential: Credential, store: str, root: int) -> int:
    """Check one file, and return its size."""
    what = f"the credential {credential.id} of {name}"
    real, status = _resolved(what, credential.path, root)
    if real.is_relative_to(os.path.realpath(store)):
        raise Refused(
            f"{what} lies in the store, where every user and every agent can read it: {credential.path} is {real}",
            "change the secret, and let sops-nix or agenix make its file",
        )
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{what} is not a file: {credential.path}", "name the file that sops-nix or agenix makes")
    if status.st_mode & (_ALL_READ | _OTHERS_WRITE):
        mode = stat.S_IMODE(status.st_mode)
        raise Refused(f"{what} is open to others: {credential.path} has mode {mode:04o}", 'set its mode to "0400"')
    return status.st_size


def _resolved(what: str, path: str, root: int) -> tuple[Path, os.stat_result]:
    """Follow `path` link by link. Raise Refused unless every part belongs to root and nobody else can replace it."""
    real, parts, links = Path("/"), list(Path(path).parts[1:]), 0
    status = real.lstat()
    while parts:
        part = parts.pop(0)
        if part == "..":
            real, status = real.parent, real.parent.lstat()
            continue
        real = real / part
        status = _lstat(what, path, real)
        _check_owner(what, real, status, root)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINKS:
                raise Refused(f"{what} is behind too many links: {path}")
            target = real.readlink()
            parts = [*(target.parts[1:] if target.is_absolute() else target.parts), *parts]
            real = Path("/") if target.is_absolute() else real.parent
    return real, status


def _lstat(what: str, path: str, part: Path) -> os.stat_result:
    try:
        return part.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise TransientError(
            f"{what} is missing: there is no {path}",
            "see whether sops-nix or agenix made it (it does so at activation); hive tries again",
        ) from None
    except PermissionError:
        raise Hidden(f"{what} cannot be looked at by this user: {path}", "run this as root") from None
    except OSError as error:
        raise TransientError(f"{what} cannot be looked at: {path}: {error.strerror}") from None


def _check_owner(what: str, part: Path, status: os.stat_result, root: int) -> None:
    if status.st_uid not in (0, root):
        raise Refused(f"{what} is not root's: {part} belongs to the uid {status.st_uid}", "let root own it")
    replaceable = stat.S_ISDIR(status.st_mode) and status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX
    if replaceable:
        raise Refused(f"{what} can be replaced: others may write to {part}", "let only root write there")


def _agents(content: str) -> Mapping[AgentName, Mapping[str, Credential]]:
    try:
        table: object = json.loads(content)
    except (ValueError, RecursionError):
        raise BadInput("it is not JSON") from None
    whole = values.exact(table, "it", ("version", "agents"))
    if whole["version"] != 1:
        raise BadInput("its version is not 1")
    if not isinstance(whole["agents"], dict):
        raise BadInput("agents is not an object")
    return {values.name(name): _given(name, paths) for name, paths in whole["agents"].items()}


def _given(name: str, paths: object) -> Mapping[str, Credential]:
    if not isinstance(paths, dict):
        raise BadInput(f"{name} has no object")
    return {id: Credential(_id(id), _path(path)) for id, path in paths.items()}


def _id(value: object) -> str:
    if not isinstance(value, str) or not IDS.fullmatch(value):
        raise BadInput(f"{str(value)[:80]!r} is not an id: letters, digits, '-' and '_', 64 at most, a letter first")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str) or not PLAIN_PATH.fullmatch(value):
        raise BadInput(f"{str(value)[:80]!r} is not a plain absolute path")
    return value


def _read(path: Path, owners: tuple[int, ...] | None) -> str | None:
    """Return the text of a small file, or None if it is missing. Raise BadInput; `owners` may have written it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path} is not a regular file")
        if owners is not None and (status.st_uid not in owners or status.st_mode & _OTHERS_WRITE):
            raise BadInput(f"others than root may write {path}")
        content = file.read(_LIMIT)
    if len(content) == _LIMIT:
        raise BadInput(f"{path} is too long")
    return content.decode("utf-8", "replace")
