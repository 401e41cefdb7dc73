"""Parts of a change of the meta repo: trees, entries, messages, and the files beside the repo."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta import own_file
from meta.desired import trailers
from meta.desired.view import MetaView
from meta.errors import Conflict, Damaged
from meta.git.message import encode
from meta.git.objects import FILE, GitObject, TreeEntry, blob, tree
from meta.model import AgentEntry, Pin, Role, Tombstone
from meta.names import AgentName, ProposalId, Sha
from meta.process.disk import disk_error

log = logging.getLogger(__name__)
Changed = tuple[dict[AgentName, AgentEntry], dict[AgentName, Tombstone]]
"""Agents and tombstones after a change."""


@dataclass(frozen=True, slots=True)
class Entering:
    """An agent of an older hive that meta gets an entry for. `disowned`: the ids that it had there."""

    pin: Pin
    role: Role
    disowned: frozenset[ProposalId] = frozenset()


@dataclass(frozen=True, slots=True)
class RunNote:
    """The words of a commit on `run`: its action, and further trailers."""

    action: str
    also: Mapping[str, str] = field(default_factory=dict)


def tree_with(base: list[TreeEntry], files: Mapping[str, bytes]) -> tuple[Sha, list[GitObject]]:
    """Return the tree `base` with `files` replaced, and the new objects. All other entries stay."""
    blobs = {name: blob(content) for name, content in files.items()}
    kept = [entry for entry in base if entry.name.decode("utf-8", "replace") not in blobs]
    new = tree([*kept, *(TreeEntry(FILE, name.encode(), one.id) for name, one in blobs.items())])
    return new.id, [*blobs.values(), new]


def with_entry(view: MetaView, agent: AgentName, entry: AgentEntry) -> Changed:
    """Return agents and tombstones with `entry` for `agent` and without its tombstone."""
    graves = {name: grave for name, grave in view.desired.tombstones.items() if name != agent}
    return {**view.desired.agents, agent: entry}, graves


def check_uid(view: MetaView, agent: AgentName, entry: AgentEntry) -> None:
    """Raise Conflict if another agent has the uids of `entry`."""
    uid = entry.settings.uid_base
    for name, other in view.desired.agents.items():
        if name != agent and other.settings.uid_base == uid:
            raise Conflict(f"{agent} and {name} would both have the uids from {uid}", "spawn it again")


def note(action: str, agent: AgentName, by: str, text: str = "", also: Mapping[str, str] | None = None) -> str:
    """Return the message of a commit that is not a deploy: subject, `text`, trailers."""
    values = {trailers.ACTION: action, trailers.AGENT: agent, trailers.BY: by, **(also or {})}
    return encode(f"{action} {agent}", text, values)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each of `files` that differs to `folder`, atomically. Move a folder in the place of one aside."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            if _content(path) == content:
                continue
            if path.is_dir() and not path.is_symlink():
                aside = folder / f"{name}.aside-{secrets.token_hex(4)}"
                path.rename(aside)
                log.warning("%s was a folder; it was moved to %s", path, aside)
            scratch = folder / f".{name}.new-{secrets.token_hex(4)}"
            scratch.write_bytes(content)
            scratch.rename(path)
    except OSError as error:
        raise disk_error(f"cannot write the files of meta to {folder}", error) from error


def _content(path: Path) -> bytes | None:
    try:
        return own_file.read(path)
    except (OSError, Damaged):
        return None
