"""git's objects as bytes: encode and decode blobs, trees, commits and annotated tags; compute ids. Pure.

hive encodes objects itself, because a `git` process costs several milliseconds and a deploy needs a dozen objects. The
ids are those of `git hash-object` (a test compares them). Only git moves refs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meta.errors import BadInput
from meta.names import Sha

IDENTITY = "hive <hive@localhost>"
"""Author, committer and tagger of everything that hive writes."""

FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
TREE = 0o040000


@dataclass(frozen=True, slots=True)
class GitObject:
    """One object: `kind` is blob, tree, commit or tag."""

    kind: str
    data: bytes

    @property
    def id(self) -> Sha:
        """Return its id: SHA-1 over header and data."""
        return Sha(hashlib.sha1(self.raw(), usedforsecurity=False).hexdigest())

    def raw(self) -> bytes:
        """Return header and data, as git stores them before compression."""
        return f"{self.kind} {len(self.data)}\0".encode() + self.data


@dataclass(frozen=True, slots=True)
class Commit:
    """A decoded commit. `at` is the committer's time in Unix seconds."""

    sha: Sha
    tree: Sha
    parents: tuple[Sha, ...]
    at: int
    message: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A decoded annotated tag. `name` is the one in the tag; `target` and `kind` are of the object it points at."""

    name: str
    target: Sha
    kind: str
    at: int
    message: str


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a tree."""

    mode: int
    name: bytes
    id: Sha


def blob(data: bytes) -> GitObject:
    """Return the content of a file as an object."""
    return GitObject("blob", data)


def tree(entries: Sequence[TreeEntry]) -> GitObject:
    """Return a folder as an object. git sorts by name, folders as if their names ended in '/'."""
    ordered = sorted(entries, key=lambda entry: entry.name + (b"/" if entry.mode == TREE else b""))
    return GitObject(
        "tree", b"".join(b"%o %s\0" % (entry.mode, entry.name) + bytes.fromhex(entry.id) for entry in ordered)
    )


def commit(tree_id: Sha, parents: Sequence[Sha], message: str, at: int) -> GitObject:
    """Return a commit by hive at `at` (Unix seconds)."""
    lines = [f"tree {tree_id}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {IDENTITY} {at} +0000", f"committer {IDENTITY} {at} +0000", "", message]
    return GitObject("commit", "\n".join(lines).encode())


def tag(name: str, target: Sha, message: str, at: int, kind: str = "commit") -> GitObject:
    """Return an annotated tag by hive; `name` is without refs/tags/."""
    lines = [f"object {target}", f"type {kind}", f"tag {name}", f"tagger {IDENTITY} {at} +0000", "", message]
    return GitObject("tag", "\n".join(lines).encode())


def snapshot(files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> tuple[Sha, list[GitObject]]:
    """Return the tree of `files` (path to content) and every object it needs, children first.

    Raise BadInput for a path that git could not hold (absolute, empty parts, `..`, `.git`, a file that is a folder).
    """
    objects: list[GitObject] = []
    folders: dict[tuple[bytes, ...], list[TreeEntry]] = {(): []}
    for path in sorted(files):
        *parents, name = _parts(path)
        for depth in range(1, len(parents) + 1):
            folders.setdefault(tuple(parents[:depth]), [])
        content = blob(files[path])
        objects.append(content)
        folders[tuple(parents)].append(TreeEntry((modes or {}).get(path, FILE), name, content.id))
    for parts in sorted(folders, key=len, reverse=True):
        folder = tree(folders[parts])
        objects.append(folder)
        if not parts:
            return folder.id, objects
        siblings = folders[parts[:-1]]
        if any(entry.name == parts[-1] for entry in siblings):
            raise BadInput(
                f"{b'/'.join(parts).decode(errors='replace')!r} is both a file and a folder", "rename one of them"
            )
        siblings.append(TreeEntry(TREE, parts[-1], folder.id))
    raise AssertionError("unreachable: the root folder is always there")


def _parts(path: str) -> list[bytes]:
    parts = path.encode(errors="surrogateescape").split(b"/")
    if any(part in (b"", b".", b"..") or part.lower() == b".git" or b"\0" in part for part in parts):
        raise BadInput(f"{path[:80]!r} is not a path inside a repo", "give a relative path without .. and .git")
    return parts


def decode_tree(data: bytes) -> list[TreeEntry]:
    """Return the entries of a tree. Raise ValueError if it is cut short."""
    entries, at = [], 0
    while at < len(data):
        space, end = data.index(b" ", at), data.index(b"\0", at)
        if len(data) < end + 21:
            raise ValueError("tree is cut short")
        entries.append(TreeEntry(int(data[at:space], 8), data[space + 1 : end], Sha(data[end + 1 : end + 21].hex())))
        at = end + 21
    return entries


def decode_commit(sha: Sha, data: bytes) -> Commit:
    """Return the commit in `data`, without unknown headers (signatures). Raise ValueError if it is not a commit."""
    headers, message = _headers(data)
    trees = [value for key, value in headers if key == "tree"]
    if not trees:
        raise ValueError(f"{sha} is no commit")
    parents = tuple(Sha(value) for key, value in headers if key == "parent")
    return Commit(sha, Sha(trees[0]), parents, _time(headers, "committer"), message)


def decode_tag(data: bytes) -> Tag:
    """Return the annotated tag in `data`. Raise ValueError if it is not one."""
    headers, message = _headers(data)
    fields = dict(reversed(headers))
    if not {"object", "type", "tag"} <= fields.keys():
        raise ValueError("no annotated tag")
    return Tag(fields["tag"], Sha(fields["object"]), fields["type"], _time(headers, "tagger"), message)


def _headers(data: bytes) -> tuple[list[tuple[str, str]], str]:
    head, _, message = data.partition(b"\n\n")
    lines = [line.partition(" ") for line in head.decode("utf-8", "replace").split("\n") if not line.startswith(" ")]
    return [(key, value) for key, _, value in lines], message.decode("utf-8", "replace")


def _time(headers: Sequence[tuple[str, str]], key: str) -> int:
    for name, value in headers:
        words = value.rsplit(" ", 2)
        if name == key and len(words) == 3 and words[1].isdecimal():
            return int(words[1])
    return 0
