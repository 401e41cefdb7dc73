"""What is damaged among the refs of one of hive's repos, and the command that mends it.

hive writes an object to the disk before the ref that names it. So what a ref pointed at when a power cut emptied it is
still there: an object that no ref reaches, which says itself what it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Damaged
from meta.git import packs
from meta.git.files import OWN_REF, read_loose, read_ref, read_refs
from meta.git.frame import check_frame
from meta.git.message import decode
from meta.git.objects import GitObject, Tag, decode_commit, decode_tag, decode_tree
from meta.names import Sha
from meta.text import command_line

_TAGS = "refs/tags/"
_FILES = {"refs/heads/main": b"agents.json", "refs/heads/run": b"run.json"}
"""The file that tells a commit of each branch of the meta repo from others."""


@dataclass(frozen=True, slots=True)
class Hurt:
    """One damaged file: what is wrong in words, and the command that mends it, "" if only a backup does."""

    text: str
    remedy: str = ""


def examine_refs(git_dir: Path, *, meta: bool = False) -> list[Hurt]:
    """Return what is damaged among the refs and the tags of an applied repo, or of the meta repo."""
    try:
        if not check_frame(git_dir):
            return []
        for folder in _folders(git_dir):
            read_refs(git_dir, [folder])
    except Damaged as error:
        remedy = "" if "hive doctor" in error.hint else error.hint
        return list(_broken_refs(git_dir, meta)) or [Hurt(error.summary, remedy)]
    return [*(_lost_branches(git_dir) if meta else _lost_tags(git_dir)), *_broken_tags(git_dir)]


def _folders(git_dir: Path) -> list[str]:
    return [os.path.relpath(folder, git_dir) for folder, _, _ in _walk(git_dir)]


def _walk(git_dir: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder of refs, the folders in it that stand in the place of a ref, and its files.

    What is in a folder in the place of a ref is no ref.
    """
    for folder, folders, names in os.walk(git_dir / "refs"):
        in_place_of_refs = [name for name in folders if OWN_REF.search(f"{folder}/{name}")]
        folders[:] = [name for name in folders if name not in in_place_of_refs]
        yield folder, in_place_of_refs, names


def _broken_refs(git_dir: Path, meta: bool) -> Iterator[Hurt]:
    for folder, in_place_of_refs, names in _walk(git_dir):
        for name in sorted([*names, *in_place_of_refs]):
            ref = os.path.relpath(Path(folder, name), git_dir)
            if name.startswith(".") or name.endswith(".lock"):
                continue
            try:
                read_ref(git_dir, ref)
            except Damaged as error:
                yield Hurt(error.summary, _mend(git_dir, ref, meta))


def _lost_branches(git_dir: Path) -> Iterator[Hurt]:
    """Yield the branches of the meta repo that are missing although there are commits for them."""
    for ref, file in _FILES.items():
        if read_ref(git_dir, ref) is None and newest_commit(git_dir, file) is not None:
            yield Hurt(f"{git_dir / ref} is missing", _mend(git_dir, ref, meta=True))


def _lost_tags(git_dir: Path) -> Iterator[Hurt]:
    """Yield every tag that there are objects for, if a repo in which something was deployed has no tags at all."""
    folders = [folder for folder in _folders(git_dir) if folder.startswith(_TAGS)]
    if read_ref(git_dir, "refs/heads/main") is None or read_refs(git_dir, folders):
        return
    yield Hurt(f"{git_dir} has no tags, but the agent was deployed")
    for name in sorted({tag.name for _, tag in _tags(git_dir)}):
        yield Hurt(f"{git_dir}/{_TAGS}{name} is missing", _mend(git_dir, _TAGS + name))


def _broken_tags(git_dir: Path) -> Iterator[Hurt]:
    folders = [folder for folder in _folders(git_dir) if folder.startswith(_TAGS)]
    for ref, name in sorted(read_refs(git_dir, folders).items()):
        try:
            item = read_loose(git_dir, name)
        except Damaged as error:
            yield Hurt(f"{ref}: {error.summary}")
            continue
        if item is None and not packs.holds(git_dir, name):
            yield Hurt(f"{ref} in {git_dir}: its object {name} is missing")
        elif item is not None and item.kind == "tag" and not _has(git_dir, target := decode_tag(item.data).target):
            yield Hurt(f"{ref} in {git_dir}: the commit {target} that it names is missing")
        elif item is not None and item.kind not in ("tag", "commit"):
            yield Hurt(f"{ref} in {git_dir}: its object {name} is neither tag nor commit", _mend(git_dir, ref))


def _has(git_dir: Path, name: Sha) -> bool:
    try:
        return read_loose(git_dir, name) is not None or packs.holds(git_dir, name)
    except Damaged:  # it is there; `git fsck` says what is wrong with it
        return True


def _mend(git_dir: Path, ref: str, meta: bool = False) -> str:
    """Return the command that mends a ref: point it again at the object that it named, or remove what is made again."""
    remove = command_line("rm", "-rf", git_dir / ref)
    if ref == "refs/hive/counter" or ref.startswith("refs/hive/candidate/"):
        return f"{remove} (hive makes it again)"
    name = _named(git_dir, ref, meta)
    point = command_line("git", f"--git-dir={git_dir}", "update-ref", ref, name)
    return f"{remove} && {point}" if name is not None else ""


def _named(git_dir: Path, ref: str, meta: bool) -> Sha | None:
    """Return the newest object that says that it belongs to `ref`."""
    if ref.startswith(_TAGS):
        return _newest_tag(git_dir, ref.removeprefix(_TAGS))
    if ref == "refs/hive/seed":
        return _target(git_dir, "deployed/0") or _target(git_dir, "proposal/0")
    if meta and ref in _FILES:
        return newest_commit(git_dir, _FILES[ref])
    return _deployed(git_dir) if ref == "refs/heads/main" else None


def _newest_tag(git_dir: Path, name: str) -> Sha | None:
    tags = [(tag.at, sha) for sha, tag in _tags(git_dir) if tag.name == name]
    return max(tags)[1] if tags else None


def _target(git_dir: Path, name: str) -> Sha | None:
    sha = _newest_tag(git_dir, name)
    item = read_loose(git_dir, sha) if sha is not None else None
    return decode_tag(item.data).target if item is not None else None


def _deployed(git_dir: Path) -> Sha | None:
    """Return the commit of the newest deployed id that moved the branch: a rollback by an older hive did not."""
    deployed: dict[int, Sha] = {}
    kinds: dict[int, str] = {}
    for _, tag in _tags(git_dir):
        state, _, id = tag.name.partition("/")
        if state == "deployed" and id.isdecimal():
            deployed[int(id)] = tag.target
        elif state == "proposal" and id.isdecimal():
            kinds[int(id)] = decode(tag.message).trailers.get("Hive-Kind", "")
    moved = [id for id, sha in deployed.items() if kinds.get(id) != "rollback" or _is_first(deployed, id, sha)]
    return deployed[max(moved)] if moved else None


def _is_first(deployed: Mapping[int, Sha], id: int, sha: Sha) -> bool:
    return not any(other == sha and earlier < id for earlier, other in deployed.items())


def newest_commit(git_dir: Path, file: bytes) -> Sha | None:
    """Return the newest of hive's commits with `file` in its tree that is no candidate and no other's parent."""
    commits: dict[Sha, int] = {}
    parents: set[Sha] = set()
    for sha, item in _objects(git_dir):
        if item.kind != "commit":
            continue
        commit = decode_commit(sha, item.data)
        action = decode(commit.message).trailers.get("Hive-Action")
        tree = read_loose(git_dir, commit.tree)
        if action in (None, "candidate") or tree is None or file not in {each.name for each in decode_tree(tree.data)}:
            continue
        commits[sha] = commit.at
        parents.update(commit.parents)
    tips = [(at, sha) for sha, at in commits.items() if sha not in parents]
    return max(tips)[1] if tips else None


def _tags(git_dir: Path) -> Iterator[tuple[Sha, Tag]]:
    """Yield every annotated tag that is stored loose and can be understood."""
    for sha, item in _objects(git_dir):
        if item.kind == "tag":
            with contextlib.suppress(ValueError):
                yield sha, decode_tag(item.data)


def _objects(git_dir: Path) -> Iterator[tuple[Sha, GitObject]]:
    """Yield every whole object that is stored loose, as those that hive itself writes are."""
    for folder in sorted((git_dir / "objects").glob("[0-9a-f][0-9a-f]/")):
        for path in sorted(folder.iterdir()):
            name = Sha(folder.name + path.name)
            try:
                item = read_loose(git_dir, name)
            except Damaged:
                continue
            if item is not None and item.kind in ("tag", "commit"):
                yield name, item
