"""The difference of two trees: every changed file with its sizes, and a patch whose cost is bounded.

The list is complete whatever the size of the patch: it comes from git's `-z` output, never from the patch's lines. What
the patch leaves out is named. git is ended as soon as it has written enough, and its own memory is limited, because an
agent chooses what is compared: many paths may share one large file, and a file may be slow to compare.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta.errors import HiveError, NotFound, PermanentError, Refused, TransientError
from meta.names import Sha
from meta.process.child import OutputTooLarge
from meta.process.run import Completed, ProcessTimeout, Streams, run

DIFF_LIMIT = 2**20
"""Bytes of a patch that are shown; also the bytes (before and after) that a file in the patch may have.

git needs about 50 bytes of memory for each line that it compares, and a line may be one byte.
"""

LIST_LIMIT = 32 * 2**20
"""Bytes of git's list of changed files. A longer one is refused rather than cut."""

CONTEXT = 3
"""Unchanged lines that a patch shows before and after a change, as git does by itself."""

MOST_CONTEXT = 1_000_000
"""Unchanged lines that may be asked for: more than a file of a patch has."""

_LARGE_TOTAL = 4 * 2**20
"""Bytes of all files that git compares for one patch. The smallest files come first: padding cannot push them out."""

_MEMORY = 64 * 2**20
_SECONDS = 15.0
_LOOKED_AT = 8000
"""Bytes at the beginning of a file in which git looks for a NUL byte; a file that has one is binary."""

_MOST_LOOKS = 16
"""Files outside the patch of which the beginning is read."""

_PATHSPEC_BYTES = 512 * 1024
_SUBMODULE, _NOTHING = "160000", "000000"
_STATUS = {"A": "added", "D": "deleted", "M": "changed", "T": "changed", "R": "renamed"}
_CALM = ("-c", "core.packedGitWindowSize=1m", "-c", "core.packedGitLimit=16m", "-c", "core.deltaBaseCacheLimit=8m")
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color")
_NO_RENAMES, _RENAMES = ("--no-renames",), ("--find-renames", "-l100")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One changed file. Modes are git's, sizes in bytes; None on the side where there is no file.

    `status` is added, changed, deleted or renamed (then `old_path` is the former name). `binary`: a NUL byte is near
    the beginning; None if nobody looked. `shown`: its whole change is in the patch.
    """

    path: str
    status: str
    old_mode: str | None
    new_mode: str | None
    old_size: int | None
    new_size: int | None
    binary: bool | None = None
    shown: bool = False
    old_path: str | None = None


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """All changed files, the patch, and why the patch does not show all of them (None: it does)."""

    files: tuple[FileChange, ...]
    patch: str
    cut: str | None = None


@dataclass(frozen=True, slots=True)
class _Raw:
    """One record of `git diff-tree --raw -z`, with the sizes of the two blobs."""

    modes: tuple[str, str]
    oids: tuple[Sha, Sha]
    letter: str
    paths: tuple[bytes, ...]
    sizes: tuple[int | None, int | None] = (None, None)

    @property
    def weight(self) -> int:
        return sum(size or 0 for size in self.sizes)

    @property
    def headers(self) -> int:
        """`diff --git` lines in the patch: a file that becomes a symlink is deleted and added."""
        return 2 if self.letter == "T" else 1

    def has(self, path: str) -> bool:
        """Return True if this is the file `path`, as `FileChange.path` names it, or lies in the folder `path`."""
        names = [f"{name.decode('utf-8', 'backslashreplace')}/" for name in self.paths]
        return any(name.startswith(f"{path.rstrip('/')}/") for name in names)

    @property
    def blob(self) -> Sha:
        return self.oids[0] if self.letter == "D" else self.oids[1]

    def change(self, binary: bool | None, shown: bool) -> FileChange:
        old, new = (None if mode == _NOTHING else mode for mode in self.modes)
        names = [path.decode("utf-8", "backslashreplace") for path in self.paths]
        return FileChange(
            path=names[-1],
            status=_STATUS.get(self.letter, "changed"),
            old_mode=old,
            new_mode=new,
            old_size=self.sizes[0],
            new_size=self.sizes[1],
            binary=binary,
            shown=shown,
            old_path=names[0] if len(names) > 1 else None,
        )


@dataclass(frozen=True, slots=True)
class _Patch:
    """A patch of some files: the first `whole` of `files` are in it completely. `cut`: why not all of them."""

    files: tuple[_Raw, ...]
    data: bytes
    whole: int
    cut: str | None = None


@dataclass(frozen=True, slots=True)
class Differ:
    """Compares trees of one of hive's repos. `deadline` in seconds for each command, `context` in lines."""

    path: Path
    environment: Mapping[str, str]
    deadline: float
    context: int = CONTEXT

    async def cut(self, before: Sha, after: Sha) -> str | None:
        """Return why the difference does not show every file as a whole; None if it does. Same errors as `diff`."""
        _, large, left = await asyncio.to_thread(_groups, await self._list(before, after, _NO_RENAMES), DIFF_LIMIT)
        if not large and not left:
            return None
        return (await self.diff(before, after)).cut

    async def diff(self, before: Sha, after: Sha, path: str | None = None) -> TreeDiff:
        """Return the difference, or that of one file or folder, of which more is shown.

        NotFound without one of the trees, or if they do not differ there; Refused if there are too many files to
        list.
        """
        files = await self._list(before, after, _NO_RENAMES)
        limit = DIFF_LIMIT
        if path is not None:
            files = await asyncio.to_thread(_at, files, path)
            limit = _LARGE_TOTAL
            if not files:
                raise NotFound(f"nothing changes at {path}", "`hive diff ID --stat` lists the changed files")
        small, large, left = await asyncio.to_thread(_groups, files, limit)
        patches, room = [], limit
        for group in (small, large):
            if group:
                paths = () if len(group) == len(files) and path is None else _pathspecs(group)
                patches.append(await self._patch(before, after, group, paths, room))
                room -= len(patches[-1].data)
        listed = [item for patch in patches for item in patch.files] + left
        binary = await self._binary(listed)
        return await asyncio.to_thread(_tree_diff, patches, left, binary, limit)

    async def _list(
        self, before: Sha, after: Sha, renames: Sequence[str], paths: Sequence[bytes] = ()
    ) -> tuple[_Raw, ...]:
        words = ["diff-tree", "-r", "-z", "--raw", "--full-index", *renames, *_PLAIN, before, after, "--"]
        try:
            done = await self._git(words, paths, limit=LIST_LIMIT)
        except OutputTooLarge as error:
            raise Refused("the commits differ in too many files to list them", "propose a smaller change") from error
        files, names = await asyncio.to_thread(_records, done.stdout)
        sizes = await self._sizes(names)
        return await asyncio.to_thread(lambda: tuple(replace(item, sizes=_pair(item, sizes)) for item in files))

    async def _sizes(self, names: bytes) -> dict[Sha, int]:
        """Return the size of each object in `names`, one a line."""
        if not names:
            return {}
        done = await self._git(
            ["cat-file", "--batch-check=%(objectname) %(objectsize)"], stdin=names, limit=2 * len(names) + 2**16
        )
        return await asyncio.to_thread(_decode_sizes, done.stdout)

    async def _patch(self, before: Sha, after: Sha, group: Sequence[_Raw], paths: Sequence[bytes], room: int) -> _Patch:
        """Return the patch of a group, in at most `room` bytes. What goes wrong is named in it, not raised."""
        files = tuple(group)
        try:
            files = await self._list(before, after, _RENAMES, paths)
            words = ["diff-tree", "-r", "-p", "--text", f"-U{self.context}", *_RENAMES, *_PLAIN, before, after, "--"]
            done = await self._git(words, paths, limit=max(room, 1))
            return _Patch(files, done.stdout, len(files))
        except OutputTooLarge as error:
            data = error.output[: error.output.rfind(b"\n") + 1]
            return _Patch(files, data, _whole(files, data), _LONG)
        except TransientError:
            return _Patch(files, b"", 0, f"git did not compare the files within {self._seconds:g} s")
        except PermanentError as error:
            return _Patch(files, b"", 0, f"git could not compare the files: {error.summary[-200:]}")

    async def _binary(self, files: Iterable[_Raw]) -> dict[Sha, bool]:
        """Return which blobs are binary, as far as they may be looked at."""
        wanted, large = await asyncio.to_thread(_looks, tuple(files))
        looked = {oid: b"\0" in (await self._beginning(oid))[:_LOOKED_AT] for oid in large}
        return looked | await self._beginnings(wanted)

    async def _beginning(self, oid: Sha) -> bytes:
        try:
            return (await self._git(["cat-file", "blob", oid], limit=_LOOKED_AT)).stdout
        except OutputTooLarge as error:
            return error.output

    async def _beginnings(self, oids: Sequence[Sha]) -> dict[Sha, bool]:
        if not oids:
            return {}
        names = "".join(f"{oid}\n" for oid in oids).encode()
        done = await self._git(["cat-file", "--batch"], stdin=names, limit=_LARGE_TOTAL + 100 * len(oids))
        return await asyncio.to_thread(_decode_binary, oids, done.stdout)

    @property
    def _seconds(self) -> float:
        return min(self.deadline, _SECONDS)

    async def _git(
        self, words: Sequence[str], paths: Sequence[bytes] = (), stdin: bytes | None = None, limit: int = 2**20
    ) -> Completed:
        named = [path.decode("utf-8", "surrogateescape") for path in paths]
        try:
            done = await run(
                ["git", "--literal-pathspecs", *_CALM, *words, *named],
                deadline=self._seconds,
                env=self.environment,
                limits={resource.RLIMIT_DATA: _MEMORY, resource.RLIMIT_CORE: 0},
                streams=Streams(stdin=stdin, output_limit=limit),
                check=False,
            )
        except ProcessTimeout as error:
            raise TransientError(f"git {words[0]} in {self.path} passed its deadline", "try again later") from error
        if done.code != 0:
            raise _failure(self.path, words[0], done)
        return done


_LONG = "the patch is longer than is shown"


def _too_large(limit: int) -> str:
    return f"files of more than {limit} bytes, or beyond {_LARGE_TOTAL} bytes in all, are not compared"


def _failure(path: Path, command: str, done: Completed) -> HiveError:
    last = (done.stderr_tail.strip().split("\n") or [""])[-1][:300]
    summary = f"git {command} in {path}: {last or f'ended with {done.code}'}"
    if "bad object" in last or "not a valid object" in last.lower() or "not a git repo" in last:
        return NotFound(summary, "was the repo restored from an old backup?")
    return PermanentError(summary, "see `git fsck` in that repo")


def _at(files: Iterable[_Raw], path: str) -> tuple[_Raw, ...]:
    return tuple(item for item in files if item.has(path))


def _tree_diff(patches: Sequence[_Patch], left: Sequence[_Raw], binary: Mapping[Sha, bool], limit: int) -> TreeDiff:
    """Return the difference that `patches` show, without the files in `left`."""
    shown = {item for patch in patches for item in patch.files[: patch.whole]}
    listed = [*(item for patch in patches for item in patch.files), *left]
    changes = tuple(
        item.change(binary.get(item.blob), item in shown) for item in sorted(listed, key=lambda item: item.paths[-1])
    )
    reason = next((patch.cut for patch in patches if patch.cut), None) or (_too_large(limit) if left else None)
    if reason == _LONG:
        reason = f"the patch is longer than {limit} bytes"
    text = b"".join(patch.data for patch in patches).decode("utf-8", "replace")
    return _ended(TreeDiff(changes, text, reason))


def _decode_sizes(output: bytes) -> dict[Sha, int]:
    words = (line.split() for line in output.decode("ascii", "replace").split("\n"))
    return {Sha(pair[0]): int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdecimal()}


def _looks(files: Iterable[_Raw]) -> tuple[list[Sha], list[Sha]]:
    """Return the blobs that may be read as a whole, and those of which only the beginning may."""
    sizes = {item.blob: item.sizes[item.letter != "D"] or 0 for item in files if _SUBMODULE not in item.modes}
    wanted: list[Sha] = []
    large: list[Sha] = []
    total = 0
    for oid in sorted(sizes, key=lambda oid: sizes[oid]):
        total += sizes[oid]
        if total <= _LARGE_TOTAL and sizes[oid] <= DIFF_LIMIT:
            wanted.append(oid)
        elif len(large) < _MOST_LOOKS:
            large.append(oid)
    return wanted, large


def _decode_binary(oids: Sequence[Sha], output: bytes) -> dict[Sha, bool]:
    """Return which blobs in the output of `cat-file --batch` are binary."""
    looked, at = {}, 0
    for oid in oids:
        end = output.index(b"\n", at)
        words = output[at:end].split()
        at = end + 1
        if len(words) == 3:
            size = int(words[2])
            looked[oid] = output.find(b"\0", at, at + min(size, _LOOKED_AT)) >= 0
            at += size + 1
    return looked


def _records(output: bytes) -> tuple[tuple[_Raw, ...], bytes]:
    """Return the records of `--raw -z`, and the names of their objects, one a line.

    A record is `:modes oids status`, then one path, or two of a rename; all end with NUL.
    """
    fields = iter(output.split(b"\0"))
    records = []
    for head in fields:
        if not head:
            break
        old, new, old_oid, new_oid, status = head.decode("ascii").removeprefix(":").split()
        paths = tuple(next(fields) for _ in range(2 if status[0] in "RC" else 1))
        records.append(_Raw((old, new), (Sha(old_oid), Sha(new_oid)), status[0], paths))
    names = sorted({oid for item in records for oid in item.oids})
    return tuple(records), "".join(f"{oid}\n" for oid in names).encode()


def _pair(item: _Raw, sizes: Mapping[Sha, int]) -> tuple[int | None, int | None]:
    old, new = (
        None if mode in (_NOTHING, _SUBMODULE) else sizes.get(oid)
        for mode, oid in zip(item.modes, item.oids, strict=True)
    )
    return old, new


def _groups(files: Sequence[_Raw], limit: int) -> tuple[list[_Raw], list[_Raw], list[_Raw]]:
    """Return the files whose patch surely fits, those of which it may, and those that are not compared."""
    small: list[_Raw] = []
    large: list[_Raw] = []
    left: list[_Raw] = []
    total = names = 0
    for together in sorted(_clusters(files), key=lambda items: (sum(item.weight for item in items), items[0].paths)):
        weight = sum(item.weight for item in together)
        total += weight + 300 * len(together)
        names += sum(len(item.paths[-1]) + 1 for item in together)
        if weight > limit or total > _LARGE_TOTAL or names > _PATHSPEC_BYTES:
            left += together
        elif total <= limit // 2:
            small += together
        else:
            large += together
    return small, large, left


def _clusters(files: Iterable[_Raw]) -> list[list[_Raw]]:
    """Return the files, each with those below a folder of its name: a file became a folder, or the other way round.

    git takes the name of a file for the folder as well, so those can only be compared together.
    """
    clusters: list[list[_Raw]] = []
    top = None
    for item in sorted(files, key=lambda item: item.paths[-1] + b"/"):
        name = item.paths[-1] + b"/"
        if top is not None and name.startswith(top):
            clusters[-1].append(item)
        else:
            top = name
            clusters.append([item])
    return clusters


def _pathspecs(group: Iterable[_Raw]) -> list[bytes]:
    return [path for item in group for path in item.paths]


def _whole(files: Sequence[_Raw], patch: bytes) -> int:
    """Return how many of `files` a patch that was cut at the end of a line shows completely.

    A line of a file's content begins with a space, `+`, `-` or a backslash, so `diff --git` begins only a header.
    """
    headers = patch.startswith(b"diff --git ") + patch.count(b"\ndiff --git ")
    whole = 0
    for item in files:
        headers -= item.headers
        if headers < 1:  # the last header's file is cut, or its end is not known
            break
        whole += 1
    return whole


def _ended(diff: TreeDiff) -> TreeDiff:
    """Return the difference with a last line in its patch that counts the files it does not show."""
    hidden = sum(not change.shown for change in diff.files)
    if not hidden:
        return diff
    bar = "" if not diff.patch or diff.patch.endswith("\n") else "\n"
    note = f"[not whole: {hidden} of {len(diff.files)} files are not shown here; the list of files names them]\n"
    return replace(diff, patch=f"{diff.patch}{bar}{note}")
