"""Checks of the tree of a proposed commit. Pure: the input is the output of `git ls-tree -r -t -z -l`.

The checks refuse submodules, names that leave the tree or have a meaning to git or a terminal, files that are too large
or too many, and symlinks that leave the tree. A symlink may contain `..` only at its beginning. There `..` can be
resolved exactly, because a git tree has no symlink above an entry. After a name that is itself a symlink, it could not.

The cost grows with the bytes of the output, not with the directories in a path: a path is searched as a whole, and the
target of many symlinks once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meta.errors import BadInput, Refused
from meta.git.objects import decode_tree
from meta.names import Sha
from meta.text import one_line

LINK_BYTES = 1024
"""The longest allowed target of a symlink."""

PATH_BYTES = 1024
"""The longest path. hive writes it below directories of its own, whose path counts towards the system's 4,096 bytes."""
NAME_BYTES = 255
DEPTH = 64
"""Directories above a file."""
FOLDERS_PER_FILE = 4
"""Directories that a tree may have for each allowed file: each costs an inode, too."""

_TREE, _LINK, _SUBMODULE = "040000", "120000", "160000"
_FILES = frozenset({"100644", "100755"})
_NOWHERE = frozenset({b"", b"."})
_NO_NAMES = _NOWHERE | {b".."}
_GIT_NAME = re.compile(rb"(?:\A|/)(?:\.git|git~1)[ .]*(?=/|\Z)", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_IGNORABLE = re.compile(
    b"|".join(
        chr(code).encode() for code in (*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF)
    )
)
"""Characters that some file systems ignore when they compare names: `.g<joiner>it` is `.git` there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of ls-tree. `size` is in bytes, 0 for trees and submodules; `path` is raw bytes."""

    mode: str
    oid: Sha
    size: int
    path: bytes


def parse(output: bytes) -> tuple[Entry, ...]:
    """Return the entries in the output of `git ls-tree -r -t -z -l`."""
    entries = []
    for record in output.split(b"\0"):
        if record:
            head, _, path = record.partition(b"\t")
            mode, _, oid, size = head.decode("ascii").split()
            entries.append(Entry(mode, Sha(oid), int(size) if size.isdigit() else 0, path))
    return tuple(entries)


def check_listing(listing: bytes, base_tree: bytes | None, limits: TreeLimits) -> tuple[Sha, ...]:
    """Refuse what `check` and `check_flake` refuse in the output of ls-tree. Return the blobs of the symlinks, sorted.

    `base_tree` is the raw top tree of the commit that it is built on, if there is one.
    """
    entries = parse(listing)
    links = check(entries, limits)
    if base_tree is not None:
        before = (Entry(f"{entry.mode:06o}", entry.id, 0, entry.name) for entry in decode_tree(base_tree))
        check_flake(before, entries)
    return tuple(sorted(set(links)))


def check_targets(listing: bytes, contents: bytes) -> None:
    """Refuse what `check_links` refuses. `contents` is the output of `git cat-file --batch` for the symlinks' blobs."""
    targets, at = {}, 0
    while at < len(contents):
        end = contents.index(b"\n", at)
        oid, _, size = contents[at:end].decode("ascii").split()
        targets[Sha(oid)] = contents[end + 1 : end + 1 + int(size)]
        at = end + 2 + int(size)
    check_links(parse(listing), targets)


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """Bounds of one tree: number of files, bytes of each, and bytes of all as they are checked out.

    The sum counts a blob once per path: a push of some kilobytes may name one large blob a thousand times.
    """

    files: int
    file_bytes: int
    tree_bytes: int


def check(entries: Iterable[Entry], limits: TreeLimits) -> tuple[Sha, ...]:
    """Refuse bad names, modes, sizes and numbers of files. Return the blobs of the symlinks, for `check_links`."""
    files, folders, total, links = 0, 0, 0, []
    for entry in entries:
        check_path(entry.path)
        if entry.mode == _TREE:
            folders += 1
            continue
        files += 1
        total += entry.size
        _check_entry(entry, limits.file_bytes)
        if entry.mode == _LINK:
            links.append(entry.oid)
    if files > limits.files:
        raise too_many(limits.files)
    if folders > FOLDERS_PER_FILE * limits.files:
        raise Refused(
            f"the commit has more than {FOLDERS_PER_FILE * limits.files} directories", "use fewer directories"
        )
    if total > limits.tree_bytes:
        raise Refused(
            f"the files of the commit have {total} bytes together, the limit is {limits.tree_bytes}",
            "keep large files out of the agent's configuration, or raise HIVE_MAX_TREE_BYTES",
        )
    return tuple(links)


def too_many(max_files: int, path_bytes: int | None = None) -> Refused:
    """Return the error for a tree with too many files, or with paths of more than `path_bytes` together."""
    paths = f", or paths of more than {path_bytes} bytes together" if path_bytes is not None else ""
    return Refused(f"the commit has more than {max_files} files{paths}", "remove some, or raise HIVE_MAX_FILES")


def _check_entry(entry: Entry, max_file_bytes: int) -> None:
    path = printable(entry.path)
    if entry.mode == _SUBMODULE:
        raise Refused(f"{path} is a submodule, which hive does not follow", "commit its files instead")
    if entry.mode == _LINK:
        if entry.size > LINK_BYTES:
            raise Refused(f"the symlink {path} has a target of {entry.size} bytes", "remove it")
    elif entry.mode not in _FILES:
        raise Refused(f"{path} has the mode {entry.mode}", "only plain files, executables and symlinks are allowed")
    elif entry.size > max_file_bytes:
        raise Refused(
            f"{path} has {entry.size} bytes, the limit is {max_file_bytes}",
            "keep large files out of the agent's configuration, or raise HIVE_MAX_FILE_BYTES",
        )


def check_path(path: bytes) -> None:
    """Refuse a path that leaves the tree, that git treats as its own, or that cannot be shown or written."""
    names = path.split(b"/")
    fault, folders = _name_fault(path, names), len(names) - 1
    if len(path) > PATH_BYTES:
        fault = f"it has {len(path)} bytes, the limit is {PATH_BYTES}"
    elif folders > DEPTH:
        fault = f"it lies in {folders} directories, the limit is {DEPTH}"
    if fault:
        raise Refused(f"the path {printable(path)} is refused: {fault}", "rename it and commit again")


def _name_fault(path: bytes, names: list[bytes]) -> str:
    """Return what is wrong with a name in `path`; "" if nothing is."""
    if not _NO_NAMES.isdisjoint(names):
        return "it is absolute or leaves the tree"
    plain = path if path.isascii() else _IGNORABLE.sub(b"", path)
    if b"git" in plain.lower() and _GIT_NAME.search(plain):
        return "it belongs to git"
    if len(path) > NAME_BYTES and (longest := max(map(len, names))) > NAME_BYTES:
        return f"a name in it has {longest} bytes, the limit is {NAME_BYTES}"
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return "it holds a control character" if _CONTROL.search(text) else ""


def check_links(entries: Iterable[Entry], targets: Mapping[Sha, bytes]) -> None:
    """Refuse symlinks that are absolute, leave the tree or lead into git's own directory."""
    read: dict[Sha, _Target] = {}
    for entry in entries:
        if entry.mode == _LINK:
            target = read.get(entry.oid)
            if target is None:
                target = read[entry.oid] = _Target.of(targets[entry.oid])
            if fault := target.fault_at(entry.path.count(b"/")):
                raise Refused(f"the symlink {printable(entry.path)} {fault}", "point it at a file of the same commit")


@dataclass(frozen=True, slots=True)
class _Target:
    """The target of a symlink: how many directories it goes up at first, and what is wrong with it anywhere."""

    text: bytes
    ups: int
    fault: str

    @classmethod
    def of(cls, text: bytes) -> _Target:
        if text.startswith(b"/"):
            return cls(text, 0, f"is absolute ({printable(text)})")
        parts = text.split(b"/")
        if not _NOWHERE.isdisjoint(parts):
            parts = [part for part in parts if part not in _NOWHERE]
        ups = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
        rest = parts[ups:]
        if b".." in rest:
            return cls(text, ups, f"has '..' after a name ({printable(text)}), which may leave the tree")
        if not text or (rest and _name_fault(b"/".join(rest), rest)):
            return cls(text, ups, f"has an invalid target ({printable(text)})")
        return cls(text, ups, "")

    def fault_at(self, depth: int) -> str:
        """Return what is wrong with the target of a symlink in `depth` directories; "" if nothing is."""
        return f"leaves the tree ({printable(self.text)})" if self.ups > depth else self.fault


def check_flake(before: Iterable[Entry], after: Iterable[Entry]) -> None:
    """Refuse a change of the files that hive writes: flake.nix and flake.lock at the top."""
    old, new = ({e.path: (e.mode, e.oid) for e in entries if e.path in _FLAKE} for entries in (before, after))
    for path in sorted(_FLAKE):
        if old.get(path) != new.get(path):
            raise Refused(
                f"the commit changes {path.decode()}, which hive writes itself",
                f"put it back: git checkout applied/main -- {path.decode()} (or remove it, if it is new)",
            )


_FLAKE = frozenset({b"flake.nix", b"flake.lock"})


def printable(path: bytes) -> str:
    """Return a path as it can be shown in an error."""
    return repr(one_line(path.decode("utf-8", "backslashreplace"), 200))


def message_of(commit: bytes) -> str:
    """Return the message of a raw commit object, with undecodable bytes replaced."""
    head, separator, body = commit.partition(b"\n\n")
    if not separator or not head.startswith(b"tree "):
        raise BadInput("the object is not a commit", "give the id of a commit")
    return body.decode("utf-8", "replace").strip("\n")
