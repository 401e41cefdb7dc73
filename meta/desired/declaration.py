"""The declaration: the agents that the host's configuration declares, as the NixOS module writes them to a file.

    {"version": 1, "revision": "1a2b3c", "profile": "/nix/var/nix/profiles/system",
     "agents": {"alice": {"settings": "label = \"Alice\"\n", "module": "/nix/store/...-alice.nix"}}}

`settings` is the text of agent.toml, `module` a NixOS module: a file, or a folder with a default.nix. Each may be null.
An entry that cannot be used is that agent's matter: the others are followed.
`profile` is the link from which the number of the host's generation is read.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from meta.agent_toml.settings import parse_settings
from meta.desired import declared_module, trusted
from meta.desired.declared_files import DeclaredFiles
from meta.errors import BadInput, Damaged, HiveError, NotFound, Refused
from meta.names import AgentName, agent_name
from meta.text import one_line

VERSION = 1
MOST_BYTES = 16 * 2**20
"""Bytes of the file."""
APPROVER = "nixos-rebuild"
MEND = "mend services.hive.agents of the host's configuration, then `nixos-rebuild switch`"
UPDATE = "update hive and its NixOS module together"
HINTS = (MEND, UPDATE, trusted.MEND_FILE, trusted.MEND_FOLDER)
"""What can be done about a file that is not used."""
_NAME_LENGTH = 40
_REASON_LENGTH = 500
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
    agents: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Declaration:
    """The declared agents.

    `broken` has the entries that cannot be used, each with the reason; its key need not be a name that hive accepts.
    `digest` is that of the content. `modules` are the stamps that the modules had before they were read.
    """

    agents: Mapping[AgentName, DeclaredFiles]
    broken: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    profile: str | None = None
    revision: str | None = None
    modules: Mapping[Path, object] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """Return who declares it now: `nixos-rebuild (generation 42)`.

        The host's generation changes also if the file does not, so this reads its link each time.
        """
        known = []
        try:
            link = Path(self.profile).readlink().name if self.profile else ""
        except (OSError, ValueError):
            link = ""
        if generation := _GENERATION.fullmatch(link):
            known.append(f"generation {generation[1]}")
        if self.revision:
            known.append(f"revision {one_line(self.revision, 60)[:_REVISION_LENGTH]}")
        return f"{APPROVER} ({', '.join(known)})" if known else APPROVER

    @property
    def names(self) -> frozenset[AgentName]:
        """Every declared name, also of an agent whose declaration cannot be used."""
        return frozenset({*self.agents, *map(AgentName, self.broken)})

    def modules_changed(self) -> bool:
        """Return True if a module outside the nix store is no longer what was read."""
        return any(declared_module.stamp(path) != before for path, before in self.modules.items())


def stamp(path: Path) -> tuple[int, ...] | None:
    """Return a value that changes whenever the file does; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


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
        raise BadInput(one_line(f"{path}: {where}: {first['msg']}"), MEND) from error
    if given.version != VERSION:
        raise BadInput(
            f"{path} has version {given.version}, this hive reads {VERSION}",
            UPDATE,
        )
    agents: dict[AgentName, DeclaredFiles] = {}
    broken: dict[str, str] = {}
    modules: dict[Path, object] = {}
    for name, each in sorted(given.agents.items()):
        try:
            agent, entry = agent_name(name), _entry(each)
            if entry.module is not None:
                modules[Path(entry.module)] = declared_module.stamp(Path(entry.module))
            agents[agent] = _files(entry)
        except HiveError as error:
            hint = f" ({error.hint})" if error.hint and error.hint != MEND else ""
            broken[one_line(name, _NAME_LENGTH)] = one_line(f"{error.summary}{hint}", _REASON_LENGTH)
    digest = hashlib.sha256(text)
    for agent, files in agents.items():
        digest.update(f"{agent} {files.digest}\n".encode())
    return Declaration(agents, broken, digest.hexdigest(), given.profile, given.revision, modules)


def is_host(actor: str) -> bool:
    """Return True if the host's configuration did it: `actor` is the `by` of a declaration."""
    return actor == APPROVER or actor.startswith(f"{APPROVER} (")


def _entry(given: JsonValue) -> _Agent:
    try:
        entry = _Agent.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the entry"
        raise BadInput(one_line(f"{where}: {first['msg']}"), MEND) from error
    if "\0" in (entry.module or ""):
        raise BadInput("module: it holds NUL", MEND)
    return entry


def _content(path: Path) -> bytes:
    """Return the file's content. Whoever can write it approves what runs, so it must be root's or this user's."""
    try:
        real, status = trusted.resolve(path.absolute())
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is not used: it is no regular file", MEND)
        with real.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path} does not exist, so no declaration is followed", MEND) from error
    except OSError as error:
        raise Damaged(path, error.strerror or str(error)) from error
    if len(content) > MOST_BYTES:
        raise BadInput(f"{path} has more than {MOST_BYTES} bytes", MEND)
    return content


def _files(given: _Agent) -> DeclaredFiles:
    settings = given.settings.encode() if given.settings is not None else None
    if settings is not None:
        parse_settings(settings)
    return DeclaredFiles(settings, declared_module.read(Path(given.module)) if given.module is not None else {})
