"""The declaration: the agents that the host's configuration declares, as the NixOS module writes them to a file.

    {"version": 1, "revision": "1a2b3c", "profile": "/nix/var/nix/profiles/system",
     "agents": {"alice": {"settings": "label = \"Alice\"\n", "module": "/nix/store/...-alice.nix"}}}

`settings` is the text of agent.toml, `module` a NixOS module: a file, or a folder with a default.nix. Each may be null.
`profile` is the link from which the number of the host's generation is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from meta.agent_toml.settings import parse_settings, require_runtime
from meta.desired.declared_files import MODULE_FILE, MODULE_FOLDER, DeclaredFiles
from meta.errors import BadInput, Damaged, HiveError, NotFound, Refused
from meta.names import AgentName, agent_name
from meta.text import one_line

VERSION = 1
MOST_BYTES = 16 * 2**20
"""Bytes of the file, and of one agent's module."""
MOST_FILES = 1_000
"""Files of one agent's module."""
APPROVER = "nixos-rebuild"
_REBUILD = "mend services.hive.agents of the host's configuration, then `nixos-rebuild switch`"
_GENERATION = re.compile(r"system-([0-9]+)-link")
_REVISION_LENGTH = 12


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Agent(_Strict):
    settings: str | None = None
    module: str | None = None


class _File(_Strict):
    version: int
    revision: str | None = None
    profile: str | None = None
    agents: dict[str, _Agent]


@dataclass(frozen=True, slots=True)
class Declaration:
    """The declared agents. `by` names who declared them: `nixos-rebuild (generation 42)`.

    `broken` has the agents whose declaration cannot be used, each with the reason. `digest` is that of the content.
    """

    by: str
    agents: Mapping[AgentName, DeclaredFiles]
    broken: Mapping[AgentName, str] = field(default_factory=dict)
    digest: str = ""

    @property
    def names(self) -> frozenset[AgentName]:
        """Every declared name, also of an agent whose declaration cannot be used."""
        return frozenset({*self.agents, *self.broken})


def stamp(path: Path) -> tuple[int, ...] | None:
    """Return a value that changes whenever the file does; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read(path: Path) -> Declaration:
    """Return the declaration in a file, with the files of its modules.

    Raise NotFound without the file, Refused if others could have written it, BadInput if hive does not understand it.
    """
    text = _content(path)
    try:
        given = _File.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(one_line(f"{path}: {where}: {first['msg']}"), _REBUILD) from error
    if given.version != VERSION:
        raise BadInput(
            f"{path} has version {given.version}, this hive reads {VERSION}",
            "update hive and its NixOS module together",
        )
    agents: dict[AgentName, DeclaredFiles] = {}
    broken: dict[AgentName, str] = {}
    for name, each in sorted(given.agents.items()):
        agent = _name(path, name)
        try:
            agents[agent] = _files(each)
        except HiveError as error:
            broken[agent] = error.summary
    digest = hashlib.sha256(text)
    for agent, files in agents.items():
        digest.update(f"{agent} {files.digest}\n".encode())
    return Declaration(_by(given), agents, broken, digest.hexdigest())


def is_host(actor: str) -> bool:
    """Return True if the host's configuration did it: `actor` is the `by` of a declaration."""
    return actor == APPROVER or actor.startswith(f"{APPROVER} (")


def _name(path: Path, name: str) -> AgentName:
    try:
        return agent_name(name)
    except BadInput as error:
        raise BadInput(f"{path}: {error.summary}", _REBUILD) from error


def _content(path: Path) -> bytes:
    """Return the file's content. Whoever can write it approves what runs, so it must be root's or this user's."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                raise Refused(
                    f"{path} is not used: others than root could have written it, and what it declares is approved",
                    "make it root's, with the mode 0644",
                )
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist, so no declaration is followed", _REBUILD) from error
    except OSError as error:
        raise Damaged(path, error.strerror or str(error)) from error
    if len(content) > MOST_BYTES:
        raise BadInput(f"{path} has more than {MOST_BYTES} bytes", _REBUILD)
    return content


def _by(given: _File) -> str:
    """Return who declared it: nixos-rebuild, with the host's generation and revision as far as they are known."""
    known = []
    try:
        link = Path(given.profile).readlink().name if given.profile else ""
    except OSError:
        link = ""
    if generation := _GENERATION.fullmatch(link):
        known.append(f"generation {generation[1]}")
    if given.revision:
        known.append(f"revision {one_line(given.revision, 60)[:_REVISION_LENGTH]}")
    return f"{APPROVER} ({', '.join(known)})" if known else APPROVER


def _files(given: _Agent) -> DeclaredFiles:
    settings = given.settings.encode() if given.settings is not None else None
    if settings is not None:
        require_runtime(parse_settings(settings))
    return DeclaredFiles(settings, _module(Path(given.module)) if given.module is not None else {})


def _module(path: Path) -> dict[str, bytes]:
    """Return the files of a module by their path in the agent's repo."""
    try:
        if path.is_file():
            return {MODULE_FILE: _limited(path, MOST_BYTES)}
        if not path.is_dir():
            raise BadInput(f"the module {path} does not exist", _REBUILD)
        files: dict[str, bytes] = {}
        rest = MOST_BYTES
        for folder, folders, names in os.walk(path):
            for name in (*folders, *names):
                one = Path(folder, name)
                if one.is_symlink() or not (one.is_file() or one.is_dir()):
                    raise BadInput(
                        f"the module {path} has {name}, which is no regular file", "put the file itself there"
                    )
            for name in sorted(names):
                one = Path(folder, name)
                files[f"{MODULE_FOLDER}/{one.relative_to(path)}"] = content = _limited(one, rest)
                rest -= len(content)
                if len(files) > MOST_FILES:
                    raise BadInput(f"the module {path} has more than {MOST_FILES} files", "give a smaller folder")
    except OSError as error:
        raise BadInput(f"the module {path} cannot be read: {error.strerror}", _REBUILD) from error
    if f"{MODULE_FOLDER}/default.nix" not in files:
        raise BadInput(f"the module {path} is a folder without default.nix", "add it, or give a file")
    return files


def _limited(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BadInput(f"{path} makes the module larger than {MOST_BYTES} bytes", "give a smaller one")
    return content
