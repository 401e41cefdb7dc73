"""What hive says of a host whose nix is old, strange or in trouble (scripts instead of nix; texts of nix)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from meta.config import Config
from meta.errors import PermanentError, TransientError
from meta.nix import Nix, complaints
from meta.nix.cli import _failure
from meta.nix.store import Store
from reconciler.builders.nix import usable

STORE = "/nix/store"
SHA = "5fdd0d8837385fdd0d8837385fdd0d8837385fdd"
OTHER = "c77c964049ce551217f2643991787abf62e6cbc2"


def script(folder: Path, text: str) -> Nix:
    """A nix that does only this."""
    path = folder / "nix"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return Nix(path)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("nix (Nix) 2.8.0", (2, 8, 0)),
        ("nix (Nix) 2.4", (2, 4, 0)),
        ("nix (Nix) 2.19pre20231103_34a42f0", (2, 19, 0)),
        ("nix (Determinate Nix 3.8.2) 2.30.1", (2, 30, 1)),
        ("nix (Lix, like Nix) 2.91.1", (2, 91, 1)),
    ],
)
async def test_the_version_is_what_nix_says_last(tmp_path: Path, said: str, version: tuple[int, ...]) -> None:
    nix = script(tmp_path, f"echo '{said}'")
    assert await nix.version() == version
    await nix.require()


async def test_a_nix_without_flakes_is_refused_with_both_versions(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"is nix 2\.3\.16; builder nix needs 2\.4 or newer") as caught:
        await script(tmp_path, "echo 'nix (Nix) 2.3.16'").require()
    assert "--builder plain" in caught.value.hint


@pytest.mark.parametrize("text", ["", "echo hello", "echo 'nix (Nix) 2.8.0'; exit 1", "echo lost >&2; exit 127"])
async def test_what_says_no_version_is_no_nix(tmp_path: Path, text: str) -> None:
    with pytest.raises(PermanentError, match="does not report its version"):
        await script(tmp_path, text).version()


async def test_a_nix_that_hangs_is_no_nix(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="does not report its version"):
        await script(tmp_path, "exec sleep 60").version(deadline=0.1)


def test_without_nix_or_nixpkgs_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="not on PATH"):
        usable(None, Config.model_validate({"nixpkgs": "path:/x"}))
    with pytest.raises(PermanentError, match="HIVE_NIXPKGS is empty"):
        usable(Nix(tmp_path), Config.model_validate({}))


# texts
@pytest.mark.parametrize("what", ["disk I/O error (in '/x/db.sqlite')", "database or disk is full (in '/x/db.sqlite')"])
def test_a_full_disk_under_nixs_database_may_pass(what: str) -> None:
    assert complaints.passes(f"error: executing SQLite statement 'pragma x': {what}")


def test_a_failed_git_is_told_with_what_git_said_and_what_to_do() -> None:
    stderr = (
        f"remote: fatal: unable to read {SHA}        \n"
        "error: git upload-pack: git-pack-objects died with error.\n"
        "fatal: protocol error: bad pack header\n"
        "error: program 'git' failed with exit code 128\n(use '--show-trace' to show detailed location information)\n"
    )
    told = complaints.evaluation_complaint(stderr)
    assert complaints.is_git(told)
    assert not complaints.is_fetching(told)
    assert complaints.summary(told) == (f"program 'git' failed with exit code 128: remote: fatal: unable to read {SHA}")
    assert "restore it from a backup" in complaints.remedy(told, STORE)


def test_only_the_inputs_that_the_lock_does_not_have_were_being_fetched() -> None:
    urls = [
        f"git+file:///applied/{name}/.git?ref=refs/tags/proposal/1&rev={sha}"
        for name, sha in (("a", SHA), ("b", OTHER))
    ]
    flake = "\n".join(f'"agent" = {{ url = "{url}"; flake = false; }};' for url in urls)
    assert complaints.fetching(flake, f'{{"rev": "{SHA}"}}') == [f"while fetching the input '{urls[1]}'"]


@pytest.mark.parametrize(
    "text",
    ["error: getting status of '/srv/hive': No such file or directory", "error: path '//srv/hive' does not exist"],
)
def test_an_input_that_is_gone_is_to_be_put_back(text: str) -> None:
    assert complaints.remedy(text, STORE).startswith("put /srv/hive back, or set HIVE_NIXPKGS and HIVE_HYPERHIVE")


@pytest.mark.parametrize(
    "text",
    [
        "error: getting status of '/nix/store/x-source/y': No such file or directory",
        "error: attribute 'y' missing\npath '/srv/hive' does not exist",
        "error: path 'y' does not exist",
    ],
)
def test_a_mistake_of_the_author_is_in_the_log(text: str) -> None:
    assert complaints.remedy(text, STORE) == "see the log"


@pytest.mark.nix
def test_a_store_on_a_disk_that_is_read_only_is_no_fault_of_the_commit(tmp_path: Path) -> None:
    """The real nix, with its database on a mount that is read-only."""
    nix, unshare = shutil.which("nix"), shutil.which("unshare")
    if nix is None or unshare is None or os.geteuid() != 0:
        pytest.skip("needs nix, and root for a mount")
    (tmp_path / "var").mkdir()
    folders = {f"NIX_{name}": str(tmp_path / "var") for name in ("STATE_DIR", "LOCALSTATE_DIR", "LOG_DIR")}
    settings = "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\nsandbox = false"
    environment = {**os.environ, **folders, "NIX_STORE_DIR": str(tmp_path / "store"), "NIX_CONFIG": settings}
    expression = 'derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; }'
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" build --impure --no-link --expr "$3"'
    argv = [unshare, "-m", "sh", "-c", script, "sh", str(tmp_path / "var"), nix, expression]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    complaint = complaints.evaluation_complaint(done.stderr)
    assert complaints.passes(complaint), complaint
    assert complaints.is_read_only(complaint)


def test_a_read_only_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    log = "error: executing SQLite statement 'pragma x': attempt to write a readonly database"
    error = _failure("the build failed", log, Store(tmp_path, tmp_path))
    assert isinstance(error, TransientError)
    assert "is read-only: see `dmesg`" in (error.hint or "")
