"""The commit that an older hive's repo gets when it is converted, from the commit that was deployed there last.

It has agent.nix as it was, hive's own flake.nix, no flake.lock, and agent.toml if that is missing.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.agent_toml import seed
from meta.applied import older
from meta.applied.repo import SEED_ID, Applied
from meta.applied.states import TAGS, parse, tag_name
from meta.config import Config
from meta.errors import BadInput, Damaged, Refused
from meta.git.message import encode
from meta.git.objects import FILE, GitObject, TreeEntry, blob, commit, decode_commit, decode_tag, decode_tree, tree
from meta.model import Role, TagState
from meta.names import MANAGER, OLDER_ID_LIMIT, ProposalId, Sha
from meta.process.recorder import Recorder
from meta.proposed.quarantine.repo import QuarantineRepo

RESTART = "restart the daemon: it migrates the agent then"
REMEDY = f"look at it with `git fsck`, repair it, and {RESTART}"
_LOCK, _MODULE, _SETTINGS = b"flake.lock", b"agent.nix", b"agent.toml"
_TAG_DEPTH = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployed:
    """What an older hive had deployed last: the name of a tag or branch, and its commit."""

    tag: str
    commit: Sha


async def newest_deployed(applied: Applied, folder: Path, refs: Mapping[str, Sha]) -> Deployed | None:
    """Return the commit of the newest tag `deployed/<id>`; None if there is none."""
    deployed = {id: ref for ref, (state, id) in tags_of(refs).items() if state is TagState.DEPLOYED}
    if not deployed:
        return None
    name = tag_name(TagState.DEPLOYED, max(deployed))
    target = refs[deployed[max(deployed)]]
    for _ in range(_TAG_DEPTH):
        item = await _object(applied, folder, target)
        if item.kind == "commit":
            return Deployed(name, target)
        if item.kind != "tag":
            break
        target = decode_tag(item.data).target
    raise Damaged(folder / ".git", f"its tag {name} names no commit", REMEDY)


def tags_of(refs: Mapping[str, Sha]) -> dict[str, tuple[TagState, ProposalId]]:
    """Return state and id of each tag that hive goes on from, by its ref."""
    parsed = {ref: parse(ref) for ref in refs if ref.startswith(TAGS)}
    return {ref: read for ref, read in parsed.items() if read is not None and read[1] < OLDER_ID_LIMIT}


async def module_only(
    applied: Applied, folder: Path, deployed: Deployed, main: Sha, at: int
) -> tuple[Sha, list[GitObject]]:
    """Return the new commit on what was deployed, and its objects. Warn if the older `main` is another commit."""
    agent, base = applied.agent, deployed.commit
    root = decode_commit(base, (await _object(applied, folder, base)).data).tree
    entries = {entry.name: entry for entry in decode_tree((await _object(applied, folder, root)).data)}
    files = seed.files(agent, Role.MANAGER if agent == MANAGER else Role.AGENT)
    wanted = {
        name.encode(): data for name, data in files.items() if name.encode() not in entries or name == "flake.nix"
    }
    wanted.pop(_MODULE, None)  # only that of the older hive counts
    blobs = {name: blob(data) for name, data in wanted.items()}
    kept = [entry for name, entry in entries.items() if name not in (_LOCK, *blobs)]
    top = tree([*kept, *(TreeEntry(FILE, name, item.id) for name, item in blobs.items())])
    text = "agent.nix is what it was. The flake only offers it as a module; meta makes the system of it."
    if base != main:
        later = f"{deployed.tag} is {base[:12]}, but main was {main[:12]}: what was deployed last runs, main does not"
        log.warning("migration: %s: %s; it is kept as %s/heads/main", agent, later, older.REFS)
        text = f"{text}\n{later}."
    change = commit(top.id, (base,), encode("migrate from an older hive", text), at)
    return change.id, [*blobs.values(), top, change]


async def require_buildable(
    applied: Applied, folder: Path, refs: Mapping[str, Sha], new: Sha, config: Config, recorder: Recorder | None
) -> None:
    """Raise Damaged if `new` breaks a rule of proposed commits, or its agent.nix or agent.toml is no plain file."""
    root = decode_commit(new, (await _object(applied, folder, new)).data).tree
    modes = {entry.name: entry.mode for entry in decode_tree((await _object(applied, folder, root)).data)}
    fault = ""
    if _MODULE not in modes:
        fault = "it has no agent.nix"
    elif others := [name.decode() for name in (_MODULE, _SETTINGS) if not stat.S_ISREG(modes[name])]:
        fault = f"its {others[0]} is no plain file"
    else:
        try:
            await QuarantineRepo(applied.repo.path, config, recorder).check_tree(new)
        except (BadInput, Refused) as error:
            fault = error.summary
    if fault:
        text = f"the commit that was deployed last cannot be built: {fault}"
        id = max((id for _, id in tags_of(refs).values()), default=SEED_ID) + 1
        tagged = f"tag it with `git tag deployed/{id}`"
        raise Damaged(folder / ".git", text, f"mend that in a commit on main, {tagged}, and {RESTART}")


async def _object(applied: Applied, folder: Path, name: Sha) -> GitObject:
    item = (await applied.repo.objects([name])).get(name)
    if item is None:
        raise Damaged(folder / ".git", f"its object {name} is missing", REMEDY)
    return item
