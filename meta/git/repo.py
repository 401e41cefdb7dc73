"""hive's own bare repos. The one user of GitPython.

Every method opens the repo, works in a thread, and closes it again (a Repo that is kept leaks its `cat-file` children
and descriptors). Methods return values, never objects of GitPython. Every command is an argument list with a deadline;
git ignores the configuration of user and system. A failure is one of meta.errors:

    NotFound        no such repo, commit or file
    Conflict        a ref is not at the old value of the transaction: another change was first
    TransientError  a full disk, a ref that another git has locked, a command that passed its deadline
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from git import Git, Repo
from git.exc import GitCommandNotFound, InvalidGitRepositoryError, NoSuchPathError

from meta.errors import Damaged, NotFound, PermanentError, Refused
from meta.git import packs
from meta.git.config import CONFIG, is_complete, own_environment
from meta.git.diff import CONTEXT, Differ, TreeDiff
from meta.git.failures import failure
from meta.git.files import PackedRefs, read_loose, read_ref, read_refs, write_objects
from meta.git.frame import check_frame
from meta.git.objects import EXECUTABLE, FILE, SYMLINK, Commit, GitObject, decode_commit
from meta.git.packs import StagedPack
from meta.git.transaction import RefChange, command
from meta.names import Sha
from meta.own_file import sync_folder
from meta.process.child import OutputTooLarge
from meta.process.disk import disk_error
from meta.process.failpoint import operation
from meta.process.run import Streams, run

log = logging.getLogger(__name__)
T = TypeVar("T")

_OLD = "was the repo restored from an old backup, or damaged? `hive doctor` checks it"

SUBJECTS_LIMIT = 4 * 2**20
"""Bytes of subjects of commits that are read for one list."""

_FEW = 64
"""Loose objects that are read on the event loop. An agent chose how many files a commit has."""

FILES_LIMIT = 512 * 2**20
"""Bytes that the files of one commit may have together."""


@dataclass(frozen=True, slots=True)
class FileAt:
    """One file of a commit. `mode` is git's: 0o100644, 0o100755, or 0o120000 for a symlink."""

    mode: int
    data: bytes


class GitRepo:
    """One bare repo that hive owns. `path` is the git directory, `deadline` the seconds of each command."""

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None, deadline: float = 30) -> None:
        self.path = path
        self._deadline = deadline
        self._packed = PackedRefs(path)
        self._environment = {**own_environment(path), **(environment or {})}

    # creation
    async def init(self, folders: Sequence[str] = ()) -> None:
        """Create the repo with `folders` in it. Complete a repo whose creation was interrupted."""

        def work() -> None:
            if not is_complete(self.path):
                for name in ("config.lock", "HEAD.lock"):  # no other git works here before the repo is complete
                    (self.path / name).unlink(missing_ok=True)
                self.path.mkdir(parents=True, exist_ok=True)
                argv = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(self.path)]
                status, _, stderr = self._execute(Git(self.path), argv, None)
                if status != 0:
                    raise failure(self.path, argv, stderr)
                operation("git-init")
                scratch = self.path / "config.hive"
                with scratch.open("w", encoding="utf-8") as file:
                    file.write(CONFIG)
                    file.flush()
                    os.fsync(file.fileno())
                scratch.rename(self.path / "config")
                sync_folder(self.path)
                sync_folder(self.path.parent)
            for folder in folders:
                (self.path / folder).mkdir(parents=True, exist_ok=True)

        await _in_thread(lambda: self._translate(work))

    def present(self) -> bool:
        """Return True if the repo exists and is complete."""
        return is_complete(self.path)

    # refs
    def ref(self, name: str) -> Sha | None:
        """Return what a ref points at, without a process."""
        return read_ref(self.path, name, self._packed)

    def refs(self, folders: Sequence[str]) -> dict[str, Sha]:
        """Return all refs directly in `folders` ("refs/heads"), without a process."""
        return read_refs(self.path, folders, self._packed)

    async def transaction(self, changes: Sequence[RefChange], objects: Sequence[GitObject] = ()) -> None:
        """Write `objects`, then apply all `changes` or none in one `git update-ref`.

        Raise Conflict if a ref is not at its `old` value; TransientError if another git has one of them locked.
        """
        lines = "".join(f"{line}\n" for line in ("start", *map(command, changes), "prepare", "commit"))

        def work(repo: Repo) -> None:
            write_objects(self.path, objects)
            if changes:
                self._git(repo, ["update-ref", "--stdin"], lines.encode())
                for folder in {(self.path / change.ref).parent for change in changes if change.new is not None}:
                    if folder.is_dir():  # git syncs the file of a ref, but not its name
                        sync_folder(folder)

        await self._with_repo(work)

    # objects
    async def stage(self, objects: Sequence[GitObject]) -> StagedPack:
        """Write `objects` as a staged pack. git sees them once an id has the pack."""
        staged = StagedPack.new(self.path)
        argv = [*packs.INDEX, str(staged.index), str(staged.pack)]
        try:
            await self._with_repo(lambda repo: self._git(repo, argv, packs.encode(objects)))
        except BaseException:
            staged.discard()
            raise
        return staged

    async def objects(self, ids: Iterable[Sha]) -> dict[Sha, GitObject]:
        """Return the objects that exist among `ids`. Read loose ones directly, the others with one `cat-file`."""
        names = tuple(dict.fromkeys(ids))
        objects = self._loose(names) if len(names) <= _FEW else await _in_thread(lambda: self._loose(names))
        packed = [name for name in names if name not in objects]
        if packed:
            objects.update(await self._with_repo(lambda repo: self._batch(repo, packed)))
        return objects

    def _loose(self, names: Iterable[Sha]) -> dict[Sha, GitObject]:
        read = ((name, read_loose(self.path, name)) for name in names)
        return {name: item for name, item in read if item is not None}

    def _batch(self, repo: Repo, ids: Sequence[Sha]) -> dict[Sha, GitObject]:
        output = self._git(repo, ["cat-file", "--batch"], "".join(f"{name}\n" for name in ids).encode())
        objects: dict[Sha, GitObject] = {}
        at = 0
        for name in ids:
            end = output.index(b"\n", at)
            words = output[at:end].decode("ascii", "replace").split()
            at = end + 1
            if len(words) == 3 and words[2].isdecimal():
                size = int(words[2])
                objects[name] = GitObject(words[1], output[at : at + size])
                at += size + 1
        return objects

    async def has(self, sha: Sha) -> bool:
        """Return True if the repo has the commit."""
        item = (await self.objects([sha])).get(sha)
        return item is not None and item.kind == "commit"

    async def commit(self, sha: Sha) -> Commit:
        """Return one commit, decoded. Raise Damaged if the repo does not have it."""
        item = (await self.objects([sha])).get(sha)
        if item is None or item.kind != "commit":
            raise Damaged(f"the commit {sha[:12]} in {self.path}", "it is missing", _OLD)
        return decode_commit(sha, item.data)

    async def resolve(self, commit_id: str) -> Sha:
        """Return the full id of a commit given by 7 to 40 hex digits. Raise NotFound for none and for more than one."""
        argv = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit_id}^{{commit}}"]
        status, output, _ = await self._with_repo(lambda repo: self._execute(repo.git, argv, None))
        text = output.decode("ascii", "replace").strip()
        if status != 0 or not text.startswith(commit_id):
            raise NotFound(f"there is no commit {commit_id[:40]}", "give more of its 40 digits (`git rev-parse HEAD`)")
        return Sha(text)

    # history
    async def is_ancestor(self, ancestor: Sha, of: Sha) -> bool:
        """Return True if `of` is `ancestor` or descends from it."""
        if ancestor == of:
            return True
        argv = ["merge-base", "--is-ancestor", ancestor, of]
        status, _, stderr = await self._with_repo(lambda repo: self._execute(repo.git, argv, None))
        if status not in (0, 1):
            raise failure(self.path, argv, stderr)
        return status == 0

    async def log(self, tip: Sha, exclude: Sha | None = None, limit: int | None = None) -> tuple[Commit, ...]:
        """Return the commits reachable from `tip` and not from `exclude`, newest first."""
        argv = ["log", "-z", "--no-show-signature", "--format=%H%n%T%n%P%n%ct%n%B"]
        argv += [f"--max-count={limit}"] if limit is not None else ["--topo-order"]
        argv += [tip, *([f"^{exclude}"] if exclude is not None else []), "--"]
        output = await self._with_repo(lambda repo: self._git(repo, argv))
        return tuple(_commit(entry) for entry in output.decode("utf-8", "replace").split("\0") if entry)

    async def subjects(self, tip: Sha, exclude: Sha | None, limit: int) -> tuple[str, ...]:
        """Return the subjects of the newest commits reachable from `tip` and not from `exclude`, newest first.

        A message may be as large as a pack: git is ended after SUBJECTS_LIMIT bytes, and a last entry says so.
        """
        argv = ["log", "-z", "--no-show-signature", "--format=%s", f"--max-count={limit}", tip]
        argv += [*([f"^{exclude}"] if exclude is not None else []), "--"]
        try:
            done = await run(
                ["git", *argv],
                deadline=self._deadline,
                env=self._environment,
                streams=Streams(output_limit=SUBJECTS_LIMIT),
                check=False,
            )
        except OutputTooLarge as error:
            whole = error.output.decode("utf-8", "replace").split("\0")[:-1]
            return (*whole, "[the subjects from here on are too long to list]")
        if done.code != 0:
            raise failure(self.path, argv, done.stderr_tail)
        return tuple(done.stdout.decode("utf-8", "replace").split("\0")[:-1])

    # files
    async def files(self, sha: Sha) -> dict[str, FileAt]:
        """Return every file and symlink of a commit by path, without submodules. Raise Refused above FILES_LIMIT."""
        argv = ["ls-tree", "-r", "-l", "-z", "--full-tree", sha]
        listed, total = await self._with_repo(lambda repo: self._listed(sha, self._git(repo, argv)))
        if total > FILES_LIMIT:
            raise Refused(
                f"the files of {sha[:12]} have {total} bytes together, the limit is {FILES_LIMIT}", "make it smaller"
            )
        contents = await self.objects(name for _, _, name in listed)
        missing = [path for path, _, name in listed if name not in contents]
        if missing:
            raise Damaged(self.path, f"it lacks the content of {missing[0]!r} at {sha[:12]}")
        return {path: FileAt(mode, contents[name].data) for path, mode, name in listed}

    def _listed(self, sha: Sha, output: bytes) -> tuple[list[tuple[str, int, Sha]], int]:
        """Return path, mode and blob of each file in the output of ls-tree, and their bytes together."""
        listed: list[tuple[str, int, Sha]] = []
        total = 0
        for line in output.split(b"\0"):
            head, _, path = line.partition(b"\t")
            words = head.decode("ascii", "replace").split()
            if words[3:] == ["BAD"]:
                raise Damaged(self.path, f"it lacks the content of {os.fsdecode(path)!r} at {sha[:12]}")
            if len(words) == 4 and words[1] == "blob":
                total += int(words[3])
                listed.append((os.fsdecode(path), _mode(words[0]), Sha(words[2])))
        return listed, total

    async def read(self, sha: Sha, path: str) -> bytes:
        """Return one file of a commit. Raise NotFound if the commit does not have it, Damaged if it is lost."""
        try:
            return await self._with_repo(lambda repo: self._git(repo, ["cat-file", "blob", f"{sha}:{path}"]))
        except NotFound:
            await self.commit(sha)
            if await self._with_repo(lambda repo: self._git(repo, ["ls-tree", "-z", sha, "--", path])):
                raise Damaged(self.path, f"it lacks the content of {path!r} at {sha[:12]}") from None
            raise

    async def diff(self, before: Sha, after: Sha, path: str | None = None, context: int = CONTEXT) -> TreeDiff:
        """Return the changed files between two commits, or only `path`, and their patch, which is bounded.

        `context` is the number of unchanged lines that it shows around a change.
        """
        return await Differ(self.path, self._environment, self._deadline, context).diff(before, after, path)

    async def cut(self, before: Sha, after: Sha) -> str | None:
        """Return why `diff` does not show every file as a whole; None if it does."""
        return await Differ(self.path, self._environment, self._deadline).cut(before, after)

    # running git
    async def _with_repo(self, work: Callable[[Repo], T]) -> T:
        def open_and_work() -> T:
            try:
                with Repo(self.path, expand_vars=False) as repo:
                    return work(repo)
            except (InvalidGitRepositoryError, NoSuchPathError) as error:
                check_frame(self.path)
                raise NotFound(f"{self.path} is not a git repo", "was it removed or damaged?") from error

        return await _in_thread(lambda: self._translate(open_and_work))

    def _translate(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except GitCommandNotFound as error:
            raise PermanentError("git is not installed", "install the package `git`") from error
        except OSError as error:
            raise disk_error(f"cannot work in {self.path}", error) from error

    def _git(self, repo: Repo, argv: Sequence[str], stdin: bytes | None = None) -> bytes:
        status, output, stderr = self._execute(repo.git, argv, stdin)
        if status != 0:
            raise failure(self.path, argv, stderr)
        return output

    def _execute(self, program: Git, argv: Sequence[str], stdin: bytes | None) -> tuple[int, bytes, str]:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "w+b") as source:
            source.write(stdin or b"")
            source.seek(0)
            status, output, stderr = program.execute(
                ["git", *argv],
                istream=source,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                kill_after_timeout=self._deadline,
                env=self._environment,
                start_new_session=True,
            )
        return status, _bytes(output), _bytes(stderr).decode("utf-8", "replace")


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread. If the caller is cancelled, wait for the end of `work`, so that no lock is released too
    early.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if running.done() and not running.cancelled() and (error := running.exception()) is not None:
            log.info("a git command failed after its caller was cancelled: %s", error)
        raise


def _commit(entry: str) -> Commit:
    sha, tree, parents, at, message = entry.split("\n", 4)
    return Commit(Sha(sha), Sha(tree), tuple(map(Sha, parents.split())), int(at), message)


def _mode(text: str) -> int:
    mode = int(text, 8)
    if mode == SYMLINK:
        return SYMLINK
    return EXECUTABLE if mode & 0o111 else FILE


def _bytes(output: object) -> bytes:
    if isinstance(output, str):
        return output.encode("utf-8", "surrogateescape")
    return output if isinstance(output, bytes) else b""
