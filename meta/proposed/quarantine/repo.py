"""hive's own side of a quarantine: the throw-away repo that receives a commit, checks it, and hands it over."""

from __future__ import annotations

import errno
import os
import re
import resource
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError
from meta.git.objects import decode_tree
from meta.names import Sha
from meta.process.child import OutputTooLarge
from meta.process.recorder import Recorder
from meta.process.run import Completed, run
from meta.proposed.quarantine import tree
from meta.text import one_line, scrub

FETCHED = "refs/hive/fetched"
"""The ref in the quarantine repo that holds the commit."""

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
"""Blind to the configuration of system and user; messages in English, for `explain`."""

_RECEIVE = {
    "protocol.allow": "never",
    "protocol.fd.allow": "always",
    # In version 2 the server waits for the end of its input, which comes never: `git fetch` itself holds the pipe, too.
    "protocol.version": "0",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # always one pack, so that the limit on the size of a file limits it
    "core.hooksPath": os.devnull,
    "pack.threads": "1",
    "gc.auto": "0",
}
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
_UNPACK, _KEEP = ("unpack-objects", "-q"), ("index-pack", "--stdin", "--fix-thin")
_LOOSE_MOST = 100
"""From so many objects on they stay in a pack."""
_BYTES_PER_FILE = 400
"""Output of ls-tree kept per allowed file: more means very long paths or very many directories."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checked commit, now in the applied repo. `commits` counts what it adds to the base; texts are scrubbed."""

    sha: Sha
    commits: int
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One quarantine repo, bare and hive's own."""

    path: Path
    config: Config
    recorder: Recorder | None

    @classmethod
    def create(cls, quarantine: Path, applied_git: Path, config: Config, recorder: Recorder | None) -> Quarantined:
        """An empty repo that borrows the applied repo's objects, so that only what is new is fetched."""
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
        """Remove it with whatever a broken fetch left (`tmp_pack_*`)."""
        shutil.rmtree(self.path, ignore_errors=True)

    def overflowed(self) -> bool:
        """Whether a fetch was cut off at the limit: git then leaves its temporary pack, and says nothing useful."""
        packs = (self.path / "objects/pack").glob("tmp_*")
        return any(pack.stat().st_size >= self.config.max_pack_bytes for pack in packs)

    def holds(self, commit: Sha) -> bool:
        """Whether FETCHED is there and names the commit."""
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
            _RECEIVE,
            [*_FETCH, f"fd::{source},{sink}", f"{commit}:{FETCHED}"],
            self.config.fetch_deadline,
            self.recorder,
            pass_fds=[source, sink],
            on_start=started,
            limits={**limits, resource.RLIMIT_FSIZE: self.config.max_pack_bytes},
        )

    async def checked(self, commit: Sha, base: Sha | None, rebase: str) -> Fetched:
        """Refuse what must not be applied. Everything that is read here was verified (hash and form) as it came in."""
        told, *known = await self._told(commit, base)
        entries = await self._entries(commit)
        links = tree.check(entries, self.config.max_files, self.config.max_file_bytes)
        tree.check_links(entries, await self._blobs(links))
        commits = await self._added(commit, base, rebase)
        if base is not None:
            tree.check_flake(_root(known), entries)
        message = scrub(tree.message_of(told))
        return Fetched(commit, commits, one_line(message.partition("\n")[0], 200), message)

    async def _told(self, commit: Sha, base: Sha | None) -> tuple[bytes, ...]:
        """The commit's own text and the top folder of `base`, in one process."""
        asked = [commit, *([f"{base}^{{tree}}"] if base is not None else [])]
        try:
            (kind, text), *rest = await self._batch(asked, 2**21)
        except OutputTooLarge as error:
            raise BadInput(
                f"{commit[:12]} is no commit, or its message is over a megabyte", "`git log` shows commits"
            ) from error
        if kind != "commit":
            raise BadInput(f"{commit[:12]} is no commit", "give a commit, not a tag or a file; `git log` shows them")
        return (text, *(data for _, data in rest))

    async def _batch(self, names: Sequence[str], limit: int) -> list[tuple[str, bytes]]:
        """Kind and content of each object, by one process; `limit` bounds all of it in bytes."""
        rest = await self._ask("cat-file", "--batch", stdin="\n".join(names).encode() + b"\n", limit=limit)
        found = []
        for name in names:
            head, _, rest = rest.partition(b"\n")
            words = head.decode("utf-8", "replace").split()
            if len(words) != 3:
                raise explain(f"missing tree: {head.decode('utf-8', 'replace')}", name, self.path)
            size = int(words[2])
            found.append((words[1], rest[:size]))
            rest = rest[size + 1 :]
        return found

    async def _entries(self, commit: Sha) -> tuple[tree.Entry, ...]:
        limit = self.config.max_files * _BYTES_PER_FILE + 2**16
        try:
            listing = await self._ask("ls-tree", "-r", "-t", "-z", "-l", "--full-tree", commit, limit=limit)
        except OutputTooLarge as error:
            raise tree.too_many(self.config.max_files) from error
        return tree.parse(listing)

    async def _blobs(self, oids: Sequence[Sha]) -> dict[Sha, bytes]:
        """The content of blobs that are known to be small (targets of symlinks)."""
        wanted = sorted(set(oids))
        if not wanted:
            return {}
        found = await self._batch(wanted, len(wanted) * (tree.LINK_BYTES + 100))
        return {oid: data for oid, (_, data) in zip(wanted, found, strict=True)}

    async def _added(self, commit: Sha, base: Sha | None, rebase: str) -> int:
        """How many commits it adds to `base`. Refused when it does not descend from that: then `base` has some, too."""
        if base is None:
            return int(await self._ask("rev-list", "--count", commit))
        words = ["rev-list", "--left-right", "--count", f"{base}...{commit}"]
        done = await _git(self.path, {}, words, self.config.git_deadline, self.recorder)
        if done.code != 0:
            raise explain(done.stderr_tail, base, self.path)
        missing, added = map(int, done.text.split())
        if missing:
            raise Refused(f"commit {commit[:12]} does not descend from applied/main ({base[:12]})", rebase)
        return added

    async def _ask(self, *words: str, stdin: bytes | None = None, limit: int = 2**20) -> bytes:
        done = await _git(
            self.path, {}, words, self.config.git_deadline, self.recorder, stdin=stdin, output_limit=limit
        )
        if done.code != 0:
            raise explain(done.stderr_tail, "what was fetched", self.path)
        return done.stdout


async def hand_over(
    quarantined: Path,
    applied_git: Path,
    commit: Sha,
    base: Sha | None = None,
    deadline: float = 30,
    recorder: Recorder | None = None,
) -> None:
    """Move the objects that FETCHED (`commit`) adds to `base` into the applied repo, and nothing else that came along.

    No ref is made there: that is the proposal's tag. Two processes, where `git fetch` would start six.
    """
    asked, pack = quarantined / "asked", quarantined / "handed.pack"
    asked.write_text(f"{commit}\n" + (f"^{base}\n" if base is not None else ""), encoding="ascii")
    with asked.open("rb") as wish, pack.open("wb") as sink:
        done = await _git(quarantined, _HAND_OVER, _PACK, deadline, recorder, stdio=(wish.fileno(), sink.fileno()))
    if done.code != 0:
        raise explain(done.stderr_tail, commit, quarantined)
    with pack.open("rb", buffering=0) as source, (quarantined / "said").open("wb") as sink:
        count = int.from_bytes(source.read(12)[8:], "big")
        source.seek(0)
        unpack = _UNPACK if count < _LOOSE_MOST else _KEEP
        done = await _git(applied_git, _HAND_OVER, unpack, deadline, recorder, stdio=(source.fileno(), sink.fileno()))
    if done.code != 0:
        raise explain(done.stderr_tail, commit, applied_git)


def _root(known: Sequence[bytes]) -> tuple[tree.Entry, ...]:
    """The entries of a top folder, without sizes."""
    lines = (entry for data in known for entry in decode_tree(data))
    return tuple(tree.Entry(f"{entry.mode:06o}", entry.id, 0, entry.name) for entry in lines)


async def _git(
    repo: Path,
    settings: Mapping[str, str],
    words: Sequence[str],
    deadline: float,
    recorder: Recorder | None,
    stdin: bytes | None = None,
    stdio: tuple[int, int] | None = None,
    pass_fds: Sequence[int] = (),
    on_start: Callable[[], object] | None = None,
    limits: Mapping[int, int] | None = None,
    output_limit: int = 2**20,
) -> Completed:
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return await run(
        ["git", f"--git-dir={repo}", *options, *words],
        deadline=deadline,
        recorder=recorder,
        env=GIT_ENVIRONMENT,
        stdin=stdin,
        stdio=stdio,
        pass_fds=pass_fds,
        on_start=on_start,
        limits=limits,
        output_limit=output_limit,
        check=False,
    )


def _disk_full() -> HiveError:
    return TransientError("there is no space left for the fetched commit", "free some space, then propose again")


def too_large(what: str, config: Config) -> HiveError:
    """The error for a commit that brings too much."""
    return Refused(
        f"commit {what[:12]} brings more than {config.max_pack_bytes} bytes",
        "keep large files out of the agent's configuration, or raise HIVE_MAX_PACK_BYTES",
    )


def explain(stderr: str, what: str, where: Path) -> HiveError:
    """git's complaint about `what` (a commit) in the repo `where`, as an error with a remedy.

    The text may come from the untrusted side: it chooses among fixed words, and its last line is shown scrubbed.
    """
    name = what[:12] if len(what) == 40 else what
    if re.search("No space left on device|Disk quota exceeded", stderr):
        return _disk_full()
    for pattern, error, summary, hint in _COMPLAINTS:
        if re.search(pattern, stderr, re.IGNORECASE):
            return error(summary.format(name=name, where=where), hint)
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "git gave no reason")
    return BadInput(f"cannot fetch {name} from {where}: {one_line(last, 200)}", "see `git fsck` there")


_COMPLAINTS: tuple[tuple[str, type[BadInput] | type[NotFound] | type[Refused], str, str], ...] = (
    (
        "dubious ownership|unsafe repository",
        Refused,
        "parts of {where} belong to somebody else than the directory does",
        "chown -R the whole repo to one user",
    ),
    (
        "not a git repository|does not appear to be a git repository|not a gitdir",
        BadInput,
        "{where} is not a git repo, or a broken one",
        "see `git status` there; `hive rebuild AGENT` makes a missing work tree anew",
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
        "|could not parse|inflate|invalid object|bad tree|loose object|object file .* is empty|broken",
        BadInput,
        "the repo {where} is corrupted: git refuses what it holds for {name}",
        "see `git fsck` there; clone again from /applied/AGENT/.git if it cannot be mended",
    ),
    (
        "not our ref|Needed a single revision|couldn't find remote ref|unknown revision|ambiguous arg|bad revision",
        NotFound,
        "there is no commit {name} in {where}",
        "commit there first; `git log` shows what there is",
    ),
)
