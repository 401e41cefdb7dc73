"""Landlock: a program and all that it starts are kept to what was granted, and its parent is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.process.landlock import CHANGE, FILES, HOLDS, READ, REPLACED, WRITE, Grant, abi
from meta.process.spawn import PIPES, spawn

SYSTEM = tuple(
    Grant(str(Path(path).resolve()), READ, optional=True)
    for path in ("/usr", "/bin", "/lib", "/lib64", "/etc", "/nix", "/proc")
)
ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


@pytest.fixture(autouse=True)
def _landlock() -> None:
    if abi() < HOLDS:
        pytest.skip("this kernel has no Landlock")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    for name in ("open", "closed"):
        (tmp_path / name / "folder").mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    yield tmp_path.resolve()
    for name in ("open", "closed"):  # this process is still free
        (tmp_path / name / "by-the-parent").write_text("free")


def sh(script: str, *grants: Grant, cwd: Path | None = None) -> tuple[int, str]:
    process = spawn(["sh", "-c", script], ENV, cwd, PIPES, (), (*SYSTEM, *grants))
    out, err = process.communicate(timeout=20)
    return process.returncode, (out + err).decode()


def test_a_program_writes_where_it_may_and_nowhere_else(place: Path) -> None:
    may = Grant(str(place / "open"), WRITE)
    assert (
        sh("echo 1 > new; mkdir made; mv made folder/; ln file folder/linked; rm file", may, cwd=place / "open")[0] == 0
    )
    for wrong in ("echo 1 > new", "echo 1 >> file", "mkdir made", "rm file", "mv file ../open/", "cat file"):
        code, output = sh(wrong, may, cwd=place / "closed")
        assert code != 0, wrong
        assert "Permission denied" in output or "cross-device" in output, output
    assert sorted(path.name for path in (place / "closed").iterdir()) == ["file", "folder"]
    assert (place / "closed/file").read_text() == "closed"


def test_the_smaller_rights_leave_out_entries_of_folders(place: Path) -> None:
    folder = place / "open"
    change, files = Grant(str(folder), CHANGE), Grant(str(folder), FILES)
    assert sh("cat file", Grant(str(folder), READ), cwd=folder) == (0, "open")
    assert sh("echo 1 > file", Grant(str(folder), READ), cwd=folder)[0] != 0
    assert sh("echo 1 > file", change, cwd=folder)[0] == 0
    assert sh("echo 1 > new", change, cwd=folder)[0] != 0
    assert sh("echo 1 > new; mv new newer; rm newer", files, cwd=folder)[0] == 0
    assert sh("mkdir made", files, cwd=folder)[0] != 0
    assert sh("rmdir folder", files, cwd=folder)[0] != 0
    assert sh("echo 1 > file", Grant(str(folder / "file"), WRITE), cwd=folder)[0] == 0


def test_truncate_by_name_is_a_write(place: Path) -> None:
    code = "import os, sys; os.truncate(sys.argv[1], 0)"
    python = Grant(str(Path(sys.base_prefix).resolve()), READ, optional=True)
    grants = (*SYSTEM, python, Grant(str(Path(sys.executable).resolve().parent), READ))
    process = spawn(
        [os.path.realpath(sys.executable), "-IS", "-c", code, str(place / "closed/file")], ENV, None, PIPES, (), grants
    )
    assert b"PermissionError" in process.communicate(timeout=20)[1]
    assert (place / "closed/file").read_text() == "closed"


def test_what_is_missing_is_left_out_only_if_the_grant_says_so(place: Path) -> None:
    gone = str(place / "gone")
    assert sh("true", Grant(gone, WRITE, optional=True))[0] == 0
    with pytest.raises(FileNotFoundError, match="gone"):
        sh("true", Grant(gone, WRITE))


def test_a_folder_in_the_place_of_a_granted_file_is_as_good_as_nothing(place: Path) -> None:
    folder = str(place / "open")
    assert sh("echo 1 > file", Grant(folder, WRITE, optional=True, file=True), cwd=place / "open")[0] != 0
    with pytest.raises(IsADirectoryError, match="open"):
        sh("true", Grant(folder, WRITE, file=True))


@pytest.mark.parametrize("name", ["open", "open/folder"])
def test_a_symlink_put_in_the_place_of_a_granted_path_grants_nothing(place: Path, name: str) -> None:
    may = Grant(str(place / "open/folder"), WRITE, optional=True)
    (place / name).rename(place / "aside")
    (place / name).symlink_to(place / "closed")
    with pytest.raises(FileNotFoundError, match=REPLACED):
        sh("echo 1 > new", may)
    (place / name).unlink()
    (place / "aside").rename(place / name)


def test_an_error_of_the_start_reaches_the_caller(place: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        spawn(["/no-such-program"], ENV, None, PIPES, (), SYSTEM)


CHANGES_UID = """
import os, shutil, tempfile
from meta.process.landlock import Grant, READ
from meta.process.spawn import PIPES, spawn
folder = tempfile.mkdtemp()
os.chmod(folder, 0o777)
grants = tuple(Grant(os.path.realpath(p), READ, True) for p in ("/usr", "/lib", "/lib64", "/bin", "/nix"))
child = spawn(["/bin/cat"], {}, None, PIPES, (), grants)
uid = os.getuid()
os.setresuid(-1, uid or 65534, -1)  # libc does this in every thread
other = spawn(["/bin/sh", "-c", f"echo 1 > {folder}/other"], {}, None, PIPES, (), grants)
refused = other.wait(20) != 0
open(f"{folder}/own", "w").close()
child.communicate(b"", 20)
os.setresuid(-1, uid, -1)
print(refused, os.listdir(folder), open("/proc/self/status").read().split("NoNewPrivs:")[1].split()[0])
shutil.rmtree(folder)
"""


def test_a_process_that_changes_its_uid_beside_restricted_children_stays_free() -> None:
    result = subprocess.run(
        [sys.executable, "-c", CHANGES_UID], capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.stdout, result.stderr) == ("True ['own'] 0\n", "")


def test_a_restricted_start_costs_little(place: Path) -> None:
    grants = (*SYSTEM, *(Grant(str(place / "open"), READ) for _ in range(100)))
    took = []
    for restricted in (None, grants):
        best = 1.0
        for _ in range(20):
            began = time.perf_counter()
            process = spawn(["/bin/true"], ENV, None, PIPES, (), restricted)
            best = min(best, time.perf_counter() - began)
            process.communicate(timeout=20)
        took.append(best)
    assert took[1] - took[0] < 0.005


@pytest.mark.skipif(abi() < 6, reason="the kernel's Landlock has no scope for signals")
def test_a_signal_reaches_what_the_program_started_and_nothing_else(place: Path) -> None:
    everything = Grant("/", WRITE)
    assert subprocess.run(["sh", "-c", f"kill -0 {os.getpid()}"], timeout=20).returncode == 0
    code, said = sh(f"kill -0 {os.getpid()}", everything)
    assert (code != 0, "not permitted" in said) == (True, True)
    assert sh("sleep 30 & kill -TERM $! && ! wait $!", everything)[0] == 0
