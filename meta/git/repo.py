"""The one user of GitPython: hive's own bare repos, as values.

Every method opens the repo, works in a thread, and closes it again (`with Repo(...)`: a Repo that is kept leaks its
`cat-file` children and descriptors). Only values come out, never objects of GitPython. Every command is an argument
list with a deadline, blind to the configuration of user and system. A failure is one of meta.errors:

    NotFound        no such repo, commit or file
    Conflict        a ref is not where the transaction says: somebody else was first
    TransientError  full disk, a ref that another git holds locked, a command that passed its deadline
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from git import Git, Repo
from git.exc import GitCommandNotFound, InvalidGitRepositoryError, NoSuchPathError

from meta.errors import BadInput, Conflict, HiveError, NotFound, PermanentError, Refused, TransientError
from meta.git.diff import Differ, TreeDiff
from meta.git.files import read_loose, read_ref, read_refs, write_objects
from meta.git.objects import ABSENT, EXECUTABLE, FILE, SYMLINK, Commit, GitObject, RefChange, decode_commit
from meta.names import Sha
from meta.process.disk import disk_error
from meta.process.run import OutputTooLarge, run

log = logging.getLogger(__name__)
T = TypeVar("T")

CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tfsync = all
\tfsyncMethod = fsync
\thooksPath = /dev/null
\tlogAllRefUpdates = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[receive]
\tautogc = false
\tdenyDeletes = true
\tdenyNonFastForwards = true
"""
"""The whole configuration of each of hive's repos."""

SUBJECTS_LIMIT = 4 * 2**20
"""Bytes of subjects of commits that are read for one list."""

FILES_LIMIT = 512 * 2**20
"""Bytes that one commit's files may have together."""

_REF = re.compile(r"refs/[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_LOCKED = re.compile(r"Unable to create '[^'\n]*\.lock'|another git process", re.IGNORECASE)
_PASSING = re.compile(
    r"No space left|Disk quota|Input/output error|Read-only file system|Cannot allocate|File too large"
)
_LOST = re.compile(r"reference already exists|but expected|unable to resolve reference|reference is missing")
_MISSING = re.compile(
    r"[Nn]ot a valid object|bad object|bad revision|unknown revision|ambiguous argument|Needed a single revision"
    r"|Not a valid commit|invalid object|could not get object info|does not exist in|but not in"
)


@dataclass(frozen=True, slots=True)
class FileAt:
    """One file of a commit: `mode` as git has it (0o100644, 0o100755, 0o120000 for a symlink), `data` its bytes."""

    mode: int
    data: bytes


class GitRepo:
    """One bare repo that hive owns. `path` is the git directory; `deadline` in seconds for each command."""

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None, deadline: float = 30) -> None:
        self.path = path
        self._deadline = deadline
        self._environment = {**_environment(path), **(environment or {})}

    # making
    async def init(self, folders: Sequence[str] = ()) -> None:
        """Make the repo, or complete one whose making was cut short. `folders` below refs/ are made at once."""

        def work() -> None:
            if not _complete(self.path):
                for name in ("config.lock", "HEAD.lock"):  # nobody else is here before the repo is whole
                    (self.path / name).unlink(missing_ok=True)
                self.path.mkdir(parents=True, exist_ok=True)
                argv = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(self.path)]
                status, _, stderr = self._execute(Git(self.path), argv, None)
                if status != 0:
                    raise failure(self.path, argv, stderr)
                scratch = self.path / "config.hive"
                scratch.write_text(CONFIG, encoding="utf-8")
                scratch.rename(self.path / "config")
            for folder in folders:
                (self.path / folder).mkdir(parents=True, exist_ok=True)

        await _in_thread(lambda: self._explained(work))

    def present(self) -> bool:
        """Whether there is a whole repo."""
        return _complete(self.path)

    # refs
    def ref(self, name: str) -> Sha | None:
        """What a ref points at. No process."""
        return read_ref(self.path, name)

    def refs(self, folders: Sequence[str]) -> dict[str, Sha]:
        """All refs directly in `folders` ("refs/heads"). No process."""
        return read_refs(self.path, folders)

    async def transaction(self, changes: Sequence[RefChange], objects: Sequence[GitObject] = ()) -> None:
        """Write `objects`, then move all refs or none in one `git update-ref`.

        Conflict when a ref is not at its `old` value; TransientError when another git holds one of them locked.
        """
        lines = "".join(f"{line}\n" for line in ("start", *map(_line, changes), "prepare", "commit"))

        def work(repo: Repo) -> None:
            write_objects(self.path, objects)
            if changes:
                self._git(repo, ["update-ref", "--stdin"], lines.encode())

        await self._with_repo(work)

    # objects
    async def objects(self, ids: Iterable[Sha]) -> dict[Sha, GitObject]:
        """The objects that exist among `ids`. Loose ones are read directly, the others by one `cat-file`."""
        found: dict[Sha, GitObject] = {}
        packed: list[Sha] = []
        for name in dict.fromkeys(ids):
            loose = read_loose(self.path, name)
            if loose is None:
                packed.append(name)
            else:
                found[name] = loose
        if packed:
            found.update(await self._with_repo(lambda repo: self._batch(repo, packed)))
        return found

    def _batch(self, repo: Repo, ids: Sequence[Sha]) -> dict[Sha, GitObject]:
        output = self._git(repo, ["cat-file", "--batch"], "".join(f"{name}\n" for name in ids).encode())
        found: dict[Sha, GitObject] = {}
        at = 0
        for name in ids:
            end = output.index(b"\n", at)
            words = output[at:end].decode("ascii", "replace").split()
            at = end + 1
            if len(words) == 3 and words[2].isdecimal():
                size = int(words[2])
                found[name] = GitObject(words[1], output[at : at + size])
                at += size + 1
        return found

    async def has(self, sha: Sha) -> bool:
        """Whether the commit is here."""
        found = (await self.objects([sha])).get(sha)
        return found is not None and found.kind == "commit"

    async def commit(self, sha: Sha) -> Commit:
        """One commit, decoded."""
        found = (await self.objects([sha])).get(sha)
        if found is None or found.kind != "commit":
            raise NotFound(f"{self.path} has no commit {sha[:12]}", "was the repo restored from an old backup?")
        return decode_commit(sha, found.data)

    async def resolve(self, commit_id: str) -> Sha:
        """The full id of a commit named by 7 to 40 hex digits. NotFound when there is none or more than one."""
        argv = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit_id}^{{commit}}"]
        status, output, _ = await self._with_repo(lambda repo: self._execute(repo.git, argv, None))
        text = output.decode("ascii", "replace").strip()
        if status != 0 or not text.startswith(commit_id):
            raise NotFound(f"there is no commit {commit_id[:40]}", "give more of its 40 digits (`git rev-parse HEAD`)")
        return Sha(text)

    # history
    async def is_ancestor(self, ancestor: Sha, of: Sha) -> bool:
        """Whether `of` descends from `ancestor` (or is it)."""
        if ancestor == of:
            return True
        argv = ["merge-base", "--is-ancestor", ancestor, of]
        status, _, stderr = await self._with_repo(lambda repo: self._execute(repo.git, argv, None))
        if status not in (0, 1):
            raise failure(self.path, argv, stderr)
        return status == 0

    async def log(self, tip: Sha, exclude: Sha | None = None, limit: int | None = None) -> tuple[Commit, ...]:
        """Commits reachable from `tip` and not from `exclude`, newest first."""
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
                output_limit=SUBJECTS_LIMIT,
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
        """Every file and symlink of a commit, by path. Submodules are left out. Refused above FILES_LIMIT."""
        argv = ["ls-tree", "-r", "-l", "-z", "--full-tree", sha]
        output = await self._with_repo(lambda repo: self._git(repo, argv))
        listed: list[tuple[str, int, Sha]] = []
        total = 0
        for line in output.split(b"\0"):
            head, _, path = line.partition(b"\t")
            words = head.decode("ascii", "replace").split()
            if len(words) == 4 and words[1] == "blob":
                total += int(words[3])
                listed.append((os.fsdecode(path), _mode(words[0]), Sha(words[2])))
        if total > FILES_LIMIT:
            raise Refused(f"the files of {sha[:12]} have {total} bytes together, the limit is {FILES_LIMIT}")
        found = await self.objects(name for _, _, name in listed)
        missing = [path for path, _, name in listed if name not in found]
        if missing:
            raise NotFound(f"{self.path} lacks the content of {missing[0]!r} at {sha[:12]}", "the repo is damaged")
        return {path: FileAt(mode, found[name].data) for path, mode, name in listed}

    async def read(self, sha: Sha, path: str) -> bytes:
        """One file of a commit. NotFound when it has none."""
        return await self._with_repo(lambda repo: self._git(repo, ["cat-file", "blob", f"{sha}:{path}"]))

    async def diff(self, before: Sha, after: Sha) -> TreeDiff:
        """Return the changed files between two commits and their patch, which is bounded."""
        return await Differ(self.path, self._environment, self._deadline).diff(before, after)

    # running git
    async def _with_repo(self, work: Callable[[Repo], T]) -> T:
        def opened() -> T:
            try:
                with Repo(self.path, expand_vars=False) as repo:
                    return work(repo)
            except (InvalidGitRepositoryError, NoSuchPathError) as error:
                raise NotFound(f"{self.path} is not a git repo", "was it removed or damaged?") from error

        return await _in_thread(lambda: self._explained(opened))

    def _explained(self, work: Callable[[], T]) -> T:
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


def remove_stale_locks(git_dir: Path) -> list[Path]:
    """Remove every `*.lock` of one of hive's repos; returns them. Only for recovery: nobody may be working there."""
    removed: list[Path] = []
    for folder, folders, names in os.walk(git_dir):
        if folder == f"{git_dir}/objects":
            folders[:] = [name for name in folders if name in ("info", "pack")]
        for name in names:
            if name.endswith(".lock"):
                path = Path(folder, name)
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed


def failure(git_dir: Path, argv: Sequence[str], stderr: str) -> HiveError:
    """What git complained about, as one of hive's errors."""
    lines = [line for line in stderr.strip().splitlines() if line] or ["no message"]
    told = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
    summary = f"git {argv[0]} in {git_dir}: {told[:300]}"
    if stderr.startswith("Timeout:"):
        return TransientError(f"git {argv[0]} in {git_dir} passed its deadline", "is the disk very slow?")
    if _LOCKED.search(stderr):
        return TransientError(summary, "another git is at work there; hive tries again")
    if _PASSING.search(stderr):
        return TransientError(summary, "free some space or mend the disk; hive goes on by itself")
    if _LOST.search(stderr):
        return Conflict(summary, "somebody else was first: look again")
    if _MISSING.search(stderr):
        return NotFound(summary, "was the repo restored from an old backup?")
    return PermanentError(summary, "see `git fsck` in that repo")


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread. A cancelled caller still waits for it, so that no lock is let go too early."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if running.done() and not running.cancelled() and (error := running.exception()) is not None:
            log.info("a cancelled git command failed as well: %s", error)
        raise


def _environment(path: Path) -> dict[str, str]:
    """What git sees on top of the daemon's environment: everything that could point it elsewhere is overruled."""
    return {
        "GIT_DIR": str(path),
        "GIT_OBJECT_DIRECTORY": f"{path}/objects",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "0",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
        "GIT_AUTHOR_NAME": "hive",
        "GIT_AUTHOR_EMAIL": "hive@localhost",
        "GIT_COMMITTER_NAME": "hive",
        "GIT_COMMITTER_EMAIL": "hive@localhost",
    }


def _complete(path: Path) -> bool:
    try:
        whole = (path / "config").read_text(encoding="utf-8") == CONFIG
    except (OSError, UnicodeDecodeError):
        return False
    return whole and (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def _line(change: RefChange) -> str:
    if not _REF.fullmatch(change.ref):
        raise BadInput(f"{change.ref[:80]!r} is no ref of hive")
    if change.new is None:
        return f"verify {change.ref} {change.old or ABSENT}"
    if change.new == ABSENT:
        return f"delete {change.ref}" + (f" {change.old}" if change.old else "")
    if change.old == ABSENT:
        return f"create {change.ref} {change.new}"
    return f"update {change.ref} {change.new}" + (f" {change.old}" if change.old else "")


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
