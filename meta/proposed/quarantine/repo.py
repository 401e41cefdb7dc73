"""The quarantine repo: hive's own throw-away repo that receives a commit, checks it and hands it over."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import resource
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE
from meta.agent_toml.shape import MAX_BYTES
from meta.config import Config
from meta.errors import BadInput, DiskFull, HiveError, NotFound, Refused
from meta.git import packs
from meta.git.packs import StagedPack
from meta.names import Sha
from meta.process.child import OutputTooLarge
from meta.process.recorder import Recorder
from meta.process.run import Completed, Streams, run
from meta.proposed.quarantine import tree
from meta.proposed.quarantine.tree_check import TreeCheck
from meta.text import one_line, scrub

FETCHED = "refs/hive/fetched"
"""The ref in the quarantine repo that names the commit."""

GIT_ENVIRONMENT: Mapping[str, str] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Makes git ignore the configuration of system and user, and write messages in English, for `explain`."""

RECEIVE = {
    "protocol.allow": "never",
    "protocol.fd.allow": "always",
    # In version 2 the server waits for the end of its input, which never comes: `git fetch` keeps the pipe open.
    "protocol.version": "0",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # always one pack, so that the limit on a file's size applies to it
    "core.hooksPath": os.devnull,
    "pack.threads": "1",
    "gc.auto": "0",
}
"""The settings of a `git fetch` from a repo that hive does not trust, through two pipes."""
_HAND_OVER = {
    "protocol.allow": "never",
    "pack.threads": "1",
    "core.fsync": "all",
    "core.fsyncMethod": "fsync",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
}
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
_PACK = ("pack-objects", "--revs", "--thin", "--delta-base-offset", "--stdout", "--quiet")
_OUTPUT_BYTES = 2**20
_SMALL = Streams(output_limit=_OUTPUT_BYTES)
_COMMIT_BYTES = 2**21
_ABSENT = ("missing", b"")
_MEMORY = 2 * 2**30
"""Bytes that a git may take which reads what was fetched: an agent chose its size."""
_BYTES_PER_FILE = 400
"""Bytes of output of ls-tree per allowed file. More output means very long paths or very many directories."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checked commit. It adds `commits` commits to the base. The texts are scrubbed.

    `staged` has its objects in the applied repo, where git does not see them before an id has them. `merges` are the
    merge commits that a replay left out. `settings` is its agent.toml, None if there is none of a sensible length.
    """

    sha: Sha
    commits: int
    subject: str
    message: str
    staged: StagedPack | None = field(default=None, compare=False)
    merges: int = 0
    settings: bytes | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class QuarantineRepo:
    """One bare repo of hive's own, for one fetch."""

    path: Path
    config: Config
    recorder: Recorder | None

    @classmethod
    def create(cls, quarantine: Path, applied_git: Path, config: Config, recorder: Recorder | None) -> QuarantineRepo:
        """Create an empty repo that borrows the applied repo's objects, so that only new ones are fetched."""
        path = quarantine / secrets.token_hex(8)
        try:
            quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in ("objects/info", "objects/pack", "refs"):
                (path / folder).mkdir(parents=True)
            (path / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
            (path / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n", encoding="ascii")
            if (applied_git / "objects").is_dir():
                (path / "objects/info/alternates").write_bytes(os.fsencode(applied_git / "objects") + b"\n")
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _disk_full() from error
            raise
        return cls(path, config, recorder)

    def remove(self) -> None:
        """Remove the repo, with the files of an interrupted fetch (`tmp_pack_*`)."""
        shutil.rmtree(self.path, ignore_errors=True)

    def overflowed(self) -> bool:
        """Return True if the limit cut off a fetch.

        git then leaves its temporary pack and reports no useful error.
        """
        packs = (self.path / "objects/pack").glob("tmp_*")
        return any(pack.stat().st_size >= self.config.max_pack_bytes for pack in packs)

    def holds(self, commit: Sha) -> bool:
        """Return True if FETCHED names the commit."""
        try:
            return (self.path / FETCHED).read_text(encoding="ascii").strip() == commit
        except FileNotFoundError:
            return False

    async def receive(
        self, commit: Sha, source: int, sink: int, limits: Mapping[int, int], started: Callable[[], object]
    ) -> Completed:
        """Fetch exactly `commit` to FETCHED from the upload-pack at the other ends of two pipes."""
        return await _git(
            self.path,
            RECEIVE,
            [*_FETCH, f"fd::{source},{sink}", f"{commit}:{FETCHED}"],
            self.config.fetch_deadline,
            self.recorder,
            Streams(pass_fds=(source, sink), on_start=started, output_limit=_OUTPUT_BYTES),
            limits={**limits, resource.RLIMIT_FSIZE: self.config.max_pack_bytes},
        )

    async def check(self, commit: Sha, base: Sha | None, rebase: str) -> Fetched:
        """Raise Refused for a commit that must not be applied.

        git verified the hash and form of each object during the fetch.
        """
        text, base_tree, settings = await self._read_commit(commit, base)
        commits = await self._count_added(commit, base, rebase)
        await self.check_tree(commit, base_tree)
        message = await asyncio.to_thread(lambda: scrub(tree.message_of(text)))
        return Fetched(commit, commits, one_line(message.partition("\n")[0], 200), message, settings=settings)

    async def check_tree(self, commit: Sha, base_tree: bytes | None = None) -> None:
        """Raise Refused for a tree that must not be applied. `base_tree` is the raw top tree of the commit below."""
        config = self.config
        limits = tree.TreeLimits(config.max_files, config.max_file_bytes, config.max_tree_bytes)
        check = TreeCheck(await self._listing(commit), config.git_deadline, self.recorder)
        if links := await check.links(limits, base_tree):
            await check.targets(await self._targets(links))

    async def tree_of(self, commit: Sha) -> Sha:
        """Return the tree of a commit."""
        return Sha((await self.output("rev-parse", "--verify", f"{commit}^{{tree}}")).decode("ascii").strip())

    async def commit_data(self, commit: Sha, limit: int) -> bytes:
        """Return the raw commit, of at most `limit` bytes. Raise OutputTooLarge."""
        ((_, data),) = await self._batch([commit], limit)
        return data

    async def output(self, *words: str) -> bytes:
        """Return what a command of git prints here. Raise a HiveError if it fails."""
        return await self._git_output(*words)

    async def merge(
        self, settings: Mapping[str, str], words: Sequence[str], limit: int, limits: Mapping[int, int]
    ) -> tuple[int, bytes, str]:
        """Run a command that writes objects here. Return its code, its output and the end of its complaints."""
        config = self.config
        streams = Streams(output_limit=limit)
        done = await _git(self.path, settings, words, config.git_deadline, self.recorder, streams, limits=limits)
        return done.code, done.stdout, done.stderr_tail

    async def _read_commit(self, commit: Sha, base: Sha | None) -> tuple[bytes, bytes | None, bytes | None]:
        """Return the raw commit, its agent.toml, and between them, if there is a base, its raw top tree.

        One process reads them, a second one only if agent.toml is far too long: then it is left out.
        """
        names = [commit, *([f"{base}^{{tree}}"] if base is not None else [])]
        limit = _COMMIT_BYTES + self._listing_limit()
        try:
            objects = await self._batch([*names, f"{commit}:{SETTINGS_FILE}"], limit + MAX_BYTES)
        except OutputTooLarge:
            try:
                objects = [*await self._batch(names, limit), _ABSENT]
            except OutputTooLarge as error:
                raise _no_commit(commit) from error
        kind, text = objects[0]
        if kind != "commit":
            raise BadInput(f"{commit[:12]} is not a commit", "give a commit, not a tag or a file; `git log` shows them")
        if len(text) > _COMMIT_BYTES:
            raise _no_commit(commit)
        settings_kind, settings = objects[-1]
        is_file = settings_kind == "blob" and len(settings) <= MAX_BYTES
        return text, objects[1][1] if base is not None else None, settings if is_file else None

    async def _batch(self, names: Sequence[str], limit: int) -> list[tuple[str, bytes]]:
        """Return kind and content of each object, by one process. `limit` bounds the whole output in bytes.

        A commit need not have an agent.toml.
        """
        rest = await self._git_output("cat-file", "--batch", stdin="\n".join(names).encode() + b"\n", limit=limit)
        objects = []
        for name in names:
            head, _, rest = rest.partition(b"\n")
            words = head.decode("utf-8", "replace").split()
            if words[-1:] == ["missing"] and name.endswith(f":{SETTINGS_FILE}"):
                objects.append(_ABSENT)
                continue
            if len(words) != 3:
                raise explain(f"missing tree: {head.decode('utf-8', 'replace')}", name, self.path)
            size = int(words[2])
            objects.append((words[1], rest[:size]))
            rest = rest[size + 1 :]
        return objects

    def _listing_limit(self) -> int:
        return self.config.max_files * _BYTES_PER_FILE + 2**16

    async def _listing(self, commit: Sha) -> bytes:
        """Return the tree of the commit as git lists it. Nothing here looks into it: it may be long."""
        limit = self._listing_limit()
        try:
            return await self._git_output("ls-tree", "-r", "-t", "-z", "-l", "--full-tree", commit, limit=limit)
        except OutputTooLarge as error:
            raise tree.too_many(self.config.max_files, limit) from error

    async def _targets(self, links: Sequence[Sha]) -> bytes:
        """Return the targets of symlinks, whose blobs are known to be small, as git prints them."""
        names, limit = "\n".join(links).encode() + b"\n", len(links) * (tree.LINK_BYTES + 100)
        return await self._git_output("cat-file", "--batch", stdin=names, limit=limit)

    async def _count_added(self, commit: Sha, base: Sha | None, rebase: str) -> int:
        """Return how many commits `commit` adds to `base`; raise Refused if it does not descend from `base`."""
        if base is None:
            return int(await self._git_output("rev-list", "--count", commit))
        words = ["rev-list", "--left-right", "--count", f"{base}...{commit}"]
        done = await _git(self.path, {}, words, self.config.git_deadline, self.recorder)
        if done.code != 0:
            raise explain(done.stderr_tail, base, self.path)
        missing, added = map(int, done.text.split())
        if missing:
            raise Refused(f"commit {commit[:12]} does not descend from applied/main ({base[:12]})", rebase)
        return added

    async def _git_output(self, *words: str, stdin: bytes | None = None, limit: int = _OUTPUT_BYTES) -> bytes:
        streams = Streams(stdin=stdin, output_limit=limit)
        done = await _git(self.path, {}, words, self.config.git_deadline, self.recorder, streams)
        if done.code != 0:
            raise explain(done.stderr_tail, "what was fetched", self.path)
        return done.stdout


async def hand_over(
    quarantine: Path,
    applied_git: Path,
    commit: Sha,
    base: Sha | None = None,
    deadline: float = 30,
    recorder: Recorder | None = None,
) -> StagedPack:
    """Copy the objects that `commit` adds to `base` into the applied repo, as one staged pack.

    The pack has all of them, also those that the applied repo has from another proposal, which may end. Other objects
    of the quarantine repo are not copied. It starts two processes; `git fetch` would start six.
    """
    revisions, pack = quarantine / "revisions", quarantine / "handed.pack"
    revisions.write_text(f"{commit}\n" + (f"^{base}\n" if base is not None else ""), encoding="ascii")
    with revisions.open("rb") as wanted, pack.open("wb") as sink:
        streams = Streams(stdio=(wanted.fileno(), sink.fileno()))
        done = await _git(quarantine, _HAND_OVER, _PACK, deadline, recorder, streams)
    if done.code != 0:
        raise explain(done.stderr_tail, commit, quarantine)
    staged = StagedPack.new(applied_git)
    try:
        with pack.open("rb", buffering=0) as source, (quarantine / "output").open("wb") as sink:
            streams = Streams(stdio=(source.fileno(), sink.fileno()))
            words = [*packs.INDEX, str(staged.index), str(staged.pack)]
            done = await _git(applied_git, _HAND_OVER, words, deadline, recorder, streams)
        if done.code != 0:
            raise explain(done.stderr_tail, commit, applied_git)
    except BaseException:
        staged.discard()
        raise
    return staged


def _no_commit(commit: Sha) -> BadInput:
    return BadInput(f"{commit[:12]} is not a commit, or its message is over a megabyte", "`git log` shows commits")


async def _git(
    repo: Path,
    settings: Mapping[str, str],
    words: Sequence[str],
    deadline: float,
    recorder: Recorder | None,
    streams: Streams = _SMALL,
    limits: Mapping[int, int] | None = None,
) -> Completed:
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return await run(
        ["git", f"--git-dir={repo}", *options, *words],
        deadline=deadline,
        recorder=recorder,
        env=GIT_ENVIRONMENT,
        limits=limits or _limits(deadline),
        streams=streams,
        check=False,
    )


def _limits(seconds: float) -> dict[int, int]:
    """Return the limits of a git that reads what was fetched. Packs that it maps do not count as its memory."""
    return {resource.RLIMIT_DATA: _MEMORY, resource.RLIMIT_CPU: math.ceil(seconds), resource.RLIMIT_CORE: 0}


def _disk_full() -> HiveError:
    return DiskFull("there is no space left for the fetched commit", "free some space, then propose again")


def too_large(what: str, config: Config) -> HiveError:
    """Return the error for a commit whose objects are too large."""
    return Refused(
        f"commit {what[:12]} brings more than {config.max_pack_bytes} bytes",
        "keep large files out of the agent's configuration, or raise HIVE_MAX_PACK_BYTES",
    )


def explain(stderr: str, what: str, where: Path) -> HiveError:
    """Return the error, with a remedy, for git's messages about `what` (a commit) in the repo `where`.

    The messages may come from the untrusted side. So they only select one of these errors, or their last line is shown
    scrubbed.
    """
    name = what[:12] if len(what) == 40 else what
    if re.search("No space left on device|Disk quota exceeded", stderr):
        return _disk_full()
    for pattern, error, summary, hint in _COMPLAINTS:
        if re.search(pattern, stderr, re.IGNORECASE):
            return error(summary.format(name=name, where=where), hint)
    lines = [line for line in stderr.split("\n") if line.strip() and line.strip() not in _BOILERPLATE]
    last = lines[-1] if lines else "git gave no reason"
    return BadInput(f"cannot fetch {name} from {where}: {one_line(last, 200)}", "see `git fsck` there")


_BOILERPLATE = (
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
)
"""git's lines after a serving side that died. They come last, and the reason stands before them."""

_COMPLAINTS: tuple[tuple[str, type[BadInput] | type[NotFound] | type[Refused], str, str], ...] = (
    (
        "dubious ownership|unsafe repository",
        Refused,
        "parts of {where} belong to another user than the directory does",
        "chown -R the whole repo to one user",
    ),
    (
        "not a git repository|does not appear to be a git repository|not a gitdir",
        BadInput,
        "{where} is not a git repo, or is broken",
        "see `git status` there; `hive rebuild AGENT` creates a missing work tree",
    ),
    (
        "is ambiguous",
        BadInput,
        "{name} fits more than one object in {where}",
        "give more digits of the commit id",
    ),
    (
        "shallow",
        BadInput,
        "{where} is a shallow clone",
        "fetch the rest with `git fetch --unshallow`, then propose again",
    ),
    (
        "fsck|corrupt|bad object|unable to read|missing (?:blob|tree|commit)|did not (?:receive|send) (?:expected|all)"
        "|could not parse|inflate|invalid object|bad tree|loose object|object file [^\n]{0,300} is empty|broken",
        BadInput,
        "the repo {where} is corrupted: git refuses what it holds for {name}",
        "see `git fsck` there; clone again from /applied/AGENT/.git if it cannot be repaired",
    ),
    (
        "not our ref|Needed a single revision|couldn't find remote ref|unknown revision|ambiguous arg|bad revision",
        NotFound,
        "there is no commit {name} in {where}",
        "commit there first; `git log` shows what there is",
    ),
)
