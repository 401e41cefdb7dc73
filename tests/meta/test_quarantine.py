"""Fetching from repositories that mean harm, with real git and real sandboxes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta import sandbox, treecheck
from meta.config import Config
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError
from meta.layout import Layout
from meta.names import Sha
from meta.quarantine import Fetched, FetchRequest, fetch

AGENT = 524_288
ROOT = os.geteuid() == 0
pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.skipif(sandbox.available() is None, reason="bubblewrap is not installed"),
]
needs_root = pytest.mark.skipif(not ROOT, reason="only root can own files as another uid")


@dataclass(frozen=True)
class Repo:
    """A repo and the uid that works in it (None: ours)."""

    path: Path
    uid: int | None = None

    def git(self, *words: str, stdin: str | None = None) -> str:
        author = ["-c", "user.name=an agent", "-c", "user.email=agent@localhost", "-c", "protocol.file.allow=always"]
        done = subprocess.run(
            ["git", *author, *words],
            cwd=self.path,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            user=self.uid,
            group=self.uid,
            extra_groups=[] if self.uid is not None else None,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.own()

    def own(self) -> None:
        if self.uid is not None:
            subprocess.run(["chown", "-hR", f"{self.uid}:{self.uid}", self.path], check=True)

    def commit(self, files: dict[str, str] | None = None, message: str = "change") -> Sha:
        self.write(files or {"agent.toml": "x"})
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> Sha:
        return Sha(self.git("rev-parse", "HEAD"))


class Lab:
    """A state directory with one applied repo, and a work tree cloned from it that belongs to an agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root / "state", root / "run")
        self.applied = Repo(root / "state" / "applied.git")
        self.applied.path.mkdir(parents=True)
        (root / "state").chmod(0o755)
        self.applied.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        self.work = Repo(root / "work", AGENT if ROOT else None)
        self.work.path.mkdir()
        self.work.own()
        self.work.git("init", "--quiet", "--initial-branch=main", ".")
        self.base = self.work.commit({"agent.toml": "model = 1\n", "flake.nix": "{}\n"}, "seed")
        subprocess.run(
            ["git", "-c", "safe.directory=*", "push", "--quiet", self.applied.path, "main"],
            cwd=self.work.path,
            env={
                **os.environ,
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            },
            check=True,
        )

    async def fetch(
        self, commit: str | None = None, source: Path | None = None, config: Config | None = None
    ) -> Fetched:
        request = FetchRequest(source or self.work.path, self.applied.path, commit, self.base)
        return await fetch(request, self.layout, config or Config.model_validate({}))

    def left_over(self) -> list[Path]:
        return list(self.layout.quarantine.iterdir()) if self.layout.quarantine.exists() else []

    def has(self, commit: str) -> bool:
        return (
            subprocess.run(["git", "-C", self.applied.path, "cat-file", "-e", commit], capture_output=True).returncode
            == 0
        )


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Not below tmp_path, which pytest closes to every other uid."""
    with tempfile.TemporaryDirectory(prefix="hive-quarantine-") as path:
        Path(path).chmod(0o755)
        yield Lab(Path(path))


def config(**values: float) -> Config:
    return Config.model_validate(values)


async def test_head_arrives_in_the_applied_repo_and_nothing_stays_in_quarantine(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "model = 2\n"}, "second")
    sha = lab.work.commit({"agent.toml": "model = 3\n"}, "third: \x1b[31mred\n\nwhy")
    fetched = await lab.fetch()
    assert fetched == Fetched(sha, 2, "third: red", "third: red\n\nwhy")
    assert lab.applied.git("show", f"{sha}:agent.toml") == "model = 3"
    assert lab.left_over() == []
    assert lab.applied.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not (lab.applied.path / "FETCH_HEAD").exists()


async def test_a_commit_is_named_by_its_full_or_short_id(lab: Lab) -> None:
    sha = lab.work.commit({"agent.toml": "a"})
    lab.work.commit({"agent.toml": "b"})
    assert (await lab.fetch(sha)).sha == sha
    assert (await lab.fetch(sha[:9])).sha == sha


async def test_only_what_is_new_is_fetched(lab: Lab) -> None:
    lab.work.commit({"notes": os.urandom(200_000).hex()})
    assert (await lab.fetch()).commits == 1
    lab.applied.git("update-ref", "refs/heads/main", lab.work.head())
    lab.work.commit({"agent.toml": "b"})
    assert (await lab.fetch(config=config(max_pack_bytes=50_000))).commits == 2


async def test_a_bare_repo_serves_as_well(lab: Lab, tmp_path: Path) -> None:
    sha = lab.work.commit({"agent.toml": "b"})
    bare = tmp_path / "push.git"
    shutil.copytree(lab.work.path / ".git", bare)
    Repo(bare, lab.work.uid).own()
    assert (await lab.fetch(source=bare)).sha == sha


async def test_the_base_itself_is_fetched_with_no_commits(lab: Lab) -> None:
    assert (await lab.fetch()).commits == 0


# bad input, each with a clear error
async def test_a_commit_that_does_not_exist_is_not_found(lab: Lab) -> None:
    for unknown in ("1234567", "f" * 40):
        with pytest.raises(NotFound, match=r"there is no commit (1234567|ffffffffffff) in"):
            await lab.fetch(unknown)
    assert lab.left_over() == []


async def test_a_branch_instead_of_a_commit_is_refused_even_when_it_looks_like_one(lab: Lab) -> None:
    with pytest.raises(BadInput, match="'main' is no commit id"):
        await lab.fetch("main")
    lab.work.git("branch", "abcdef12")
    with pytest.raises(BadInput, match="abcdef12 is the name of a branch"):
        await lab.fetch("abcdef12")


async def test_a_tag_object_or_a_file_is_no_commit(lab: Lab) -> None:
    lab.work.git("tag", "-a", "-m", "a tag", "v1")
    for what in ("v1", "HEAD:agent.toml", "HEAD^{tree}"):
        with pytest.raises(BadInput, match="is no commit"):
            await lab.fetch(lab.work.git("rev-parse", what))


async def test_a_directory_without_a_repo_a_file_and_nothing_at_all_are_told_apart(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="empty is not a git repo"):
        await lab.fetch(source=tmp_path / "empty")
    with pytest.raises(BadInput, match="file is not a directory"):
        await lab.fetch(source=tmp_path / "file")
    with pytest.raises(NotFound, match=r"there is no repo at .*gone") as caught:
        await lab.fetch(source=tmp_path / "gone")
    assert "hive rebuild" in caught.value.hint


async def test_a_repo_without_a_commit_is_said_to_have_none(lab: Lab) -> None:
    empty = Repo(lab.root / "unborn", lab.work.uid)
    empty.path.mkdir()
    empty.own()
    empty.git("init", "--quiet", ".")
    with pytest.raises(NotFound, match="there is no commit HEAD in"):
        await lab.fetch(source=empty.path)


async def test_a_corrupted_repo_is_named_as_such(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "b"})
    blob = lab.work.git("rev-parse", "HEAD:agent.toml")
    path = lab.work.path / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    with pytest.raises(BadInput, match="is corrupted"):
        await lab.fetch()
    assert lab.left_over() == []


async def test_a_missing_object_is_named_as_corruption(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "b"})
    tree = lab.work.git("rev-parse", "HEAD^{tree}")
    (lab.work.path / ".git/objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(BadInput, match="is corrupted"):
        await lab.fetch()


async def test_a_commit_that_does_not_descend_from_the_base_is_told_to_rebase(lab: Lab) -> None:
    lab.work.git("checkout", "--quiet", "--orphan", "other")
    lab.work.commit({"agent.toml": "b"})
    with pytest.raises(Refused, match="does not descend from applied/main") as caught:
        await lab.fetch()
    assert "rebase onto applied/main" in caught.value.hint


@pytest.mark.parametrize("name", ["flake.nix", "flake.lock"])
async def test_a_change_of_the_flake_is_refused(lab: Lab, name: str) -> None:
    lab.work.commit({name: "{ changed = true; }"})
    with pytest.raises(Refused, match=f"changes {name}"):
        await lab.fetch()
    assert not lab.has(lab.work.head())


async def test_removing_the_flake_is_a_change_too(lab: Lab) -> None:
    lab.work.git("rm", "--quiet", "flake.nix")
    lab.work.commit({})
    with pytest.raises(Refused, match=r"changes flake\.nix"):
        await lab.fetch()


async def test_what_is_over_a_limit_is_refused_with_the_name_of_the_setting(lab: Lab) -> None:
    lab.work.commit({f"file-{number}": "x" for number in range(20)})
    with pytest.raises(Refused, match="more than 20 files") as caught:
        await lab.fetch(config=config(max_files=20))
    assert "HIVE_MAX_FILES" in caught.value.hint
    lab.work.commit({"large": "x" * 5000})
    with pytest.raises(Refused, match="'large' has 5000 bytes, the limit is 4999") as caught:
        await lab.fetch(config=config(max_file_bytes=4999))
    assert "HIVE_MAX_FILE_BYTES" in caught.value.hint
    assert not lab.has(lab.work.head())


async def test_a_huge_pack_is_cut_off_and_leaves_nothing(lab: Lab) -> None:
    lab.work.commit({"noise": os.urandom(500_000).hex()})
    with pytest.raises(Refused, match="brings more than 100000 bytes") as caught:
        await lab.fetch(config=config(max_pack_bytes=100_000))
    assert "HIVE_MAX_PACK_BYTES" in caught.value.hint
    assert lab.left_over() == []


async def test_a_tree_of_endless_breadth_is_cut_off(lab: Lab) -> None:
    tree = lab.work.git("mktree", stdin=f"100644 blob {lab.work.git('rev-parse', 'HEAD:agent.toml')}\tx\n")
    for _ in range(8):
        tree = lab.work.git("mktree", stdin="".join(f"040000 tree {tree}\t{number}\n" for number in range(10)))
    commit = lab.work.git("commit-tree", "-p", lab.base, "-m", "bomb", tree)
    with pytest.raises(Refused, match="more than 10000 files"):
        await lab.fetch(commit)


async def test_a_fetch_that_takes_too_long_may_be_tried_again(lab: Lab) -> None:
    with pytest.raises(TransientError, match=r"longer than 0\.001 s") as caught:
        await lab.fetch(lab.work.head(), config=config(fetch_deadline=0.001))
    assert "HIVE_FETCH_DEADLINE" in caught.value.hint
    assert lab.left_over() == []


async def test_without_bubblewrap_nothing_is_opened(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: None)
    for commit in (None, lab.work.head()):
        with pytest.raises(Refused, match="bubblewrap") as caught:
            await lab.fetch(commit)
        assert "apt-get install bubblewrap" in caught.value.hint


async def test_a_full_disk_is_a_transient_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(TransientError, match="no space left"):
        await lab.fetch()


async def test_a_shallow_clone_is_told_to_fetch_the_rest(lab: Lab) -> None:
    lab.work.commit({"agent.toml": "b"})
    lab.work.commit({"agent.toml": "c"})
    (lab.work.path / ".git/shallow").write_text(lab.work.git("rev-parse", "HEAD~1") + "\n")
    with pytest.raises(BadInput, match="is a shallow clone"):
        await lab.fetch()


# trees that mean harm
def tree_with(lab: Lab, entry: str) -> Sha:
    """A commit whose tree has one entry more, made with plumbing that checks nothing."""
    listing = lab.work.git("ls-tree", "HEAD") + f"\n{entry}\n"
    tree = lab.work.git("mktree", "--missing", stdin=listing)
    return Sha(lab.work.git("commit-tree", "-p", "HEAD", "-m", "harm", tree))


async def test_a_submodule_is_refused(lab: Lab) -> None:
    with pytest.raises(Refused, match="'mod' is a submodule"):
        await lab.fetch(tree_with(lab, f"160000 commit {lab.base}\tmod"))


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("/etc/passwd", "is absolute"),
        ("../secret", "leads out of the tree"),
        ("agent.toml/../../secret", "has '..' after a name"),
        (".git/config", "has an odd target"),
        ("bad\x07bell", "has an odd target"),
    ],
)
async def test_a_symlink_that_leads_out_is_refused(lab: Lab, target: str, fault: str) -> None:
    (lab.work.path / "link").symlink_to(target)
    lab.work.commit({"agent.toml": "b"})
    with pytest.raises(Refused, match=f"the symlink 'link' {fault}"):
        await lab.fetch()
    assert not lab.has(lab.work.head())


async def test_a_symlink_within_the_tree_is_welcome(lab: Lab) -> None:
    (lab.work.path / "prompts").mkdir()
    (lab.work.path / "prompts/link").symlink_to("../agent.toml")
    sha = lab.work.commit({"agent.toml": "b"})
    assert (await lab.fetch()).sha == sha


def raw_tree(lab: Lab, name: bytes) -> Sha:
    """A commit whose tree has a file of a name that git itself would never write."""
    blob = bytes.fromhex(lab.work.git("rev-parse", "HEAD:agent.toml"))
    (lab.work.path / ".git/raw").write_bytes(b"100644 " + name + b"\0" + blob)
    lab.work.own()
    tree = lab.work.git("hash-object", "-t", "tree", "-w", "--literally", ".git/raw")
    return Sha(lab.work.git("commit-tree", "-p", "HEAD", "-m", "harm", tree))


@pytest.mark.parametrize(
    "name", [b"..", b".git", b".GIT", b"git~1", b"a/b", b"new\nline", b"esc\x1b[2J", b"\xff", "\u009b31m".encode()]
)
async def test_an_odd_path_is_refused(lab: Lab, name: bytes) -> None:
    with pytest.raises((Refused, BadInput), match=r"the path .* is refused|is corrupted"):
        await lab.fetch(raw_tree(lab, name))


# repos that mean harm
HOSTILE_CONFIG = """
[core]
    fsmonitor = "touch {marker}; false"
    sshCommand = "touch {marker}; false"
    gitProxy = "touch {marker}; false"
    alternateRefsCommand = "touch {marker}; false"
    hooksPath = {hooks}
    pager = "touch {marker}"
    editor = "touch {marker}"
    askPass = "touch {marker}"
    worktree = /
[diff]
    external = "touch {marker}; false"
[uploadpack]
    packObjectsHook = "touch {marker}; false"
[filter "evil"]
    clean = "touch {marker}"
    smudge = "touch {marker}"
    process = "touch {marker}"
[credential]
    helper = "!touch {marker}"
[remote "origin"]
    url = "ext::touch {marker}"
    uploadpack = "touch {marker}"
    promisor = true
[protocol "ext"]
    allow = always
[include]
    path = {marker}.config
"""


async def test_hostile_configuration_hooks_and_attributes_run_nothing(lab: Lab) -> None:
    marker, hooks = lab.root / "marker", lab.work.path / "hooks"
    sha = lab.work.commit({"agent.toml": "b", ".gitattributes": "* filter=evil diff=evil\n"})
    lab.root.chmod(0o777)
    script = f"#!/bin/sh\ntouch {marker}\n"
    names = ["pre-receive", "post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc", "update"]
    lab.work.write({f"hooks/{name}": script for name in names} | {f".git/hooks/{name}": script for name in names})
    for path in [*hooks.iterdir(), *(lab.work.path / ".git/hooks").iterdir()]:
        path.chmod(0o755)
    (lab.root / "marker.config").write_text(f'[core]\n\tfsmonitor = "touch {marker}"\n')
    with (lab.work.path / ".git/config").open("a") as config:
        config.write(HOSTILE_CONFIG.format(marker=marker, hooks=hooks))
    lab.work.own()
    before = snapshot(lab.work.path)
    try:
        for commit in (None, sha, sha[:10]):
            assert (await lab.fetch(commit)).sha == sha
    except HiveError as error:  # git may balk at such a configuration; it may not run it
        assert error.hint
    assert not marker.exists()
    assert snapshot(lab.work.path) == before
    assert lab.left_over() == []


def snapshot(path: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(entry): (found.st_mode, found.st_size, found.st_mtime_ns)
        for entry in sorted(path.rglob("*"))
        for found in [entry.lstat()]
    }


@dataclass(frozen=True)
class Secret:
    repo: Repo
    sha: Sha


@pytest.fixture
def secret(lab: Lab) -> Secret:
    """A commit in a repo that only root can read, itself within a directory that only root can enter."""
    repo = Repo(lab.root / "closed" / "secret")
    repo.path.mkdir(parents=True)
    repo.git("init", "--quiet", "--initial-branch=main", ".")
    sha = repo.commit({"password": "hunter2"}, "secret")
    (lab.root / "closed").chmod(0o700)
    return Secret(repo, sha)


def through_alternates(lab: Lab, secret: Secret) -> None:
    (lab.work.path / ".git/objects/info/alternates").write_text(f"{secret.repo.path}/.git/objects\n")


def through_http_alternates_and_relative_ones(lab: Lab, secret: Secret) -> None:
    (lab.work.path / ".git/objects/info/alternates").write_text("../../../closed/secret/.git/objects\n")


def through_symlinked_objects(lab: Lab, secret: Secret) -> None:
    git = lab.work.path / ".git"
    for name in ("objects", "refs"):
        shutil.rmtree(git / name)
        (git / name).symlink_to(secret.repo.path / ".git" / name)
    (git / "packed-refs").unlink(missing_ok=True)


def through_commondir(lab: Lab, secret: Secret) -> None:
    (lab.work.path / ".git/commondir").write_text(f"{secret.repo.path}/.git\n")


def through_a_git_file(lab: Lab, secret: Secret) -> None:
    shutil.rmtree(lab.work.path / ".git")
    (lab.work.path / ".git").write_text(f"gitdir: {secret.repo.path}/.git\n")


def through_a_git_symlink(lab: Lab, secret: Secret) -> None:
    shutil.rmtree(lab.work.path / ".git")
    (lab.work.path / ".git").symlink_to(secret.repo.path / ".git")


def through_a_symlinked_work_tree(lab: Lab, secret: Secret) -> None:
    shutil.rmtree(lab.work.path)
    lab.work.path.symlink_to(secret.repo.path)


def through_a_symlinked_loose_object(lab: Lab, secret: Secret) -> None:
    folder = lab.work.path / ".git/objects" / secret.sha[:2]
    folder.mkdir(exist_ok=True)
    (folder / secret.sha[2:]).symlink_to(secret.repo.path / ".git/objects" / secret.sha[:2] / secret.sha[2:])


def through_replace_refs(lab: Lab, secret: Secret) -> None:
    (lab.work.path / f".git/refs/replace/{lab.work.head()}").parent.mkdir(parents=True)
    (lab.work.path / f".git/refs/replace/{lab.base}").write_text(f"{secret.sha}\n")


@needs_root
@pytest.mark.parametrize(
    "way",
    [
        through_alternates,
        through_http_alternates_and_relative_ones,
        through_symlinked_objects,
        through_commondir,
        through_a_git_file,
        through_a_git_symlink,
        through_a_symlinked_work_tree,
        through_a_symlinked_loose_object,
        through_replace_refs,
    ],
)
async def test_a_repo_that_points_elsewhere_leaks_nothing(
    lab: Lab, secret: Secret, way: Callable[[Lab, Secret], None]
) -> None:
    way(lab, secret)
    if not lab.work.path.is_symlink():
        lab.work.own()
    for commit in (secret.sha, secret.sha[:12], None):
        try:
            fetched = await lab.fetch(commit)
        except HiveError as error:
            assert error.hint
        else:
            assert fetched.sha == lab.base  # its own commit may still be had
    assert not lab.has(secret.sha)
    assert lab.left_over() == []


async def test_a_work_tree_below_a_symlink_in_the_state_directory_is_refused(lab: Lab) -> None:
    proposed = lab.layout.state / "proposed" / "alice"
    proposed.parent.mkdir(parents=True, exist_ok=True)
    proposed.symlink_to(lab.work.path.parent)
    with pytest.raises(Refused, match="alice is a symlink"):
        await lab.fetch(source=proposed / lab.work.path.name)
    assert lab.left_over() == []


async def test_a_fifo_instead_of_a_git_directory_does_not_hang(lab: Lab) -> None:
    shutil.rmtree(lab.work.path / ".git")
    os.mkfifo(lab.work.path / ".git")
    with pytest.raises(BadInput, match="is not a directory but a fifo"):
        await lab.fetch()


async def test_a_fifo_within_the_git_directory_ends_at_the_deadline(lab: Lab) -> None:
    (lab.work.path / ".git/HEAD").unlink()
    os.mkfifo(lab.work.path / ".git/HEAD")
    lab.work.own()
    with pytest.raises(HiveError, match=r"longer than 0\.5 s|not a git repo"):
        await lab.fetch(config=config(fetch_deadline=0.5))


@needs_root
async def test_upload_pack_runs_as_the_owner_who_must_be_able_to_read_it_all(lab: Lab) -> None:
    head = lab.work.commit({"agent.toml": "b"})
    path = lab.work.path / ".git/objects" / head[:2] / head[2:]
    os.chown(path, 0, 0)
    path.chmod(stat.S_IRUSR)
    with pytest.raises(HiveError, match=r"corrupted|no commit"):
        await lab.fetch()
    assert not lab.has(head)


@pytest.mark.parametrize(
    "path",
    [
        "/abs",
        "a//b",
        "a/../b",
        "./a",
        "a/.Git/x",
        "GIT~1",
        ".git. ",
        ".g\u200cit",
        "a\x1b",
        "a\x7f",
        "x" * 256,
        "y/" * 3000,
    ],
)
def test_a_path_that_means_something_else_is_refused_by_itself(path: str) -> None:
    with pytest.raises(Refused, match=r"the path .* is refused"):
        treecheck.check_path(path.encode())


@pytest.mark.parametrize("path", ["agent.toml", ".gitignore", "a/.github/x", "prompts/für alle.md", "git", "..."])
def test_an_ordinary_path_is_welcome(path: str) -> None:
    treecheck.check_path(path.encode())
