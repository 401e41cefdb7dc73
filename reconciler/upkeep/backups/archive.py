"""The format of a backup: the files that may be in it, and its manifest. Pure.

meta/.git/...  applied/<n>/.git/...   refs (one file each) and objects; never configuration, hooks or alternates
hive.db  owner                        the database, and the id of the state directory
proposed/<n>/config/...               only if asked for
agents/<n>/{state,home}/...           only if asked for: they hold credentials
manifest.json                         last: the description of the backup, with the hash of each file
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meta.errors import BadInput

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 2**28
"""Bytes at most. This is enough for more than a million files."""

DATABASE, OWNER = "hive.db", "owner"
_NAME = r"[a-z](?:[a-z0-9-]{0,9}[a-z0-9])?"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REPO = rf"(?:meta|applied/{_NAME})/\.git"
_REF = re.compile(rf"{_REPO}/refs(?:/{_PART}){{2,}}")
_OBJECT = re.compile(rf"{_REPO}/objects/(?:[0-9a-f]{{2}}/[0-9a-f]{{38}}|pack/pack-[0-9a-f]{{40}}\.(?:pack|idx|rev))")
_FOREIGN = re.compile(rf"(?:proposed/{_NAME}/config|agents/{_NAME}/(?:state|home))(?P<rest>(?:/[^/\0]+)*)")


class Kind(Enum):
    """The kind of a file in a backup."""

    REF = "ref"
    OBJECT = "object"
    DATABASE = "database"
    OWNER = "owner"
    FOREIGN = "foreign"
    """A file of the manager or of an agent. hive stores it and never reads its content."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """manifest.json. `files`: path -> [SHA-256, bytes]. `agents`: the commit that each applied/main was at.

    `settings` are the HIVE_* settings in effect; `settings_of` is "daemon", or "command" if the backup was made without
    a daemon. `skipped`: links, sockets, devices, odd names, leased files. `credentials`: agents' homes are in it.
    """

    format: int
    hive: str
    made_at: int
    settings: Mapping[str, str]
    settings_of: str
    meta: str
    agents: Mapping[str, str]
    proposed: bool
    credentials: bool
    skipped: tuple[str, ...]
    files: Mapping[str, tuple[str, int]]


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: int
    hive: str
    made_at: int
    settings: dict[str, str]
    settings_of: str
    meta: str = Field(pattern="^[0-9a-f]{40}$")
    agents: dict[str, str]
    proposed: bool
    credentials: bool
    skipped: tuple[str, ...]
    files: dict[str, tuple[str, int]]


class _Version(BaseModel):
    format: int


def kind_of(path: str) -> Kind | None:
    """Return the kind of the file at `path`; None if a backup cannot have such a file."""
    if path == DATABASE:
        return Kind.DATABASE
    if path == OWNER:
        return Kind.OWNER
    if _OBJECT.fullmatch(path):
        return Kind.OBJECT
    if _REF.fullmatch(path):
        return None if ".." in path or path.endswith((".lock", ".")) else Kind.REF
    match = _FOREIGN.fullmatch(path)
    if match is None or not {".", ".."}.isdisjoint(match["rest"].split("/")):
        return None
    return Kind.FOREIGN


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as it is written."""
    return json.dumps(asdict(manifest), indent=1, sort_keys=True).encode() + b"\n"


def decode(data: bytes) -> Manifest:
    """Parse a manifest. Raise BadInput if it is damaged, or of a format that this hive does not know."""
    try:
        version = TypeAdapter(_Version).validate_json(data).format
        if version != FORMAT:
            hint = "restore it with the hive that made it" if version > FORMAT else "check that it is a backup of hive"
            raise BadInput(f"the backup has format {version}, this hive knows {FORMAT}", hint)
        read = _Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or MANIFEST
        raise BadInput(f"the manifest of the backup is damaged: {where}: {first['msg']}") from error
    return Manifest(**{name: getattr(read, name) for name in _Manifest.model_fields})
