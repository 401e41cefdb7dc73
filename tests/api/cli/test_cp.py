"""`hive cp` both ways: what is copied, whose it is, and what a hostile agent cannot reach with it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Code
from api.cli.client.http import Client
from api.cli.client.paths import Where
from api.cli.commands import cp
from api.cli.commands.cp import inside
from api.cli.main import execute
from meta.errors import HiveError
from reconciler.common import tree_copy
from reconciler.common.tree_copy import Bounds

UID = 600_000 if os.geteuid() == 0 else os.geteuid()
"""The agent's uid: one of its own if the daemon is root."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The /state of alice, without a daemon; the caller stands beside the hive."""
    home = tmp_path / "s/agents/alice"
    for folder in ("state", "home"):
        (home / folder).mkdir(parents=True)
        os.chown(home / folder, UID, UID)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return home / "state"


@pytest.fixture
def here(state: Path) -> Path:
    return state.parents[3] / "here"


def hive(*words: str) -> int:
    return execute(["cp", *words, "--state", "../s"])


def made(path: Path, text: str = "x", mode: int = 0o644) -> Path:
    """Make a file of the agent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    for each in (path, *path.parents):
        if each.name == "state":
            break
        os.chown(each, UID, UID)
    path.chmod(mode)
    return path


def test_a_file_comes_out_as_the_callers_without_the_set_uid_bit(state: Path, here: Path) -> None:
    made(state / "report", "text", 0o6755)
    assert hive("alice:/state/report", ".") == Code.OK
    copy = here / "report"
    assert copy.read_text(encoding="utf-8") == "text"
    assert (copy.stat().st_uid, stat.S_IMODE(copy.stat().st_mode) & 0o7000) == (os.geteuid(), 0)
    assert hive("alice:report", "other") == Code.OK
    assert sorted(path.name for path in here.iterdir()) == ["other", "report"]


def test_a_folder_goes_in_as_the_agents_and_comes_out_again(
    state: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "data/inner").mkdir(parents=True)
    (here / "data/inner/a").write_text("a", encoding="utf-8")
    (here / "data/run").write_text("b", encoding="utf-8")
    (here / "data/run").chmod(0o4755)
    assert hive("data", "alice:/home/agent") == Code.OK
    assert capsys.readouterr().out == "copied 2 files in 2 folders, 2 B\n"
    home = state.parent / "home"
    found = sorted(path for path in home.rglob("*"))
    assert [str(path.relative_to(home)) for path in found] == ["data", "data/inner", "data/inner/a", "data/run"]
    assert {path.lstat().st_uid for path in found} == {UID}
    assert not any(path.lstat().st_mode & 0o7000 for path in found)
    assert hive("alice:/home/agent/data", "back") == Code.OK
    assert (here / "back/inner/a").read_text(encoding="utf-8") == "a"


def test_nothing_is_replaced_without_force_and_a_folder_never(
    state: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(state / "a", "new")
    (here / "a").write_text("old", encoding="utf-8")
    assert hive("alice:a", ".") == Code.CONFLICT
    assert "a exists" in capsys.readouterr().err
    assert hive("alice:a", ".", "--force") == Code.OK
    assert (here / "a").read_text(encoding="utf-8") == "new"
    made(state / "d/x")
    (here / "d").mkdir()
    assert hive("alice:d", ".", "--force") == Code.CONFLICT
    assert list((here / "d").iterdir()) == []
    assert not list(here.rglob(".hive-cp-*"))


@pytest.mark.parametrize(
    "place", ["alice:/etc/passwd", "alice:/state/../x", "alice:../x", "alice:/home/agent/../../x", "alice:/"]
)
def test_only_state_and_home_are_reached(state: Path, place: str) -> None:
    for words in ((place, "."), (".", place)):
        assert hive(*words) in (Code.USAGE, Code.CONFLICT)


def test_a_path_here_and_one_of_an_agent_are_told_apart(here: Path) -> None:
    assert inside("./alice:x") is None
    assert inside("plain") is None
    with pytest.raises(HiveError):
        inside("No Name:/state")
    assert hive("a", "b") == Code.USAGE
    assert hive("alice:a", "bob:b") == Code.USAGE
    assert hive("alice:nothing", ".") == Code.NOT_FOUND
    assert hive("bob:nothing", ".") == Code.NOT_FOUND


def test_symlinks_pipes_and_files_of_others_do_not_come_out(
    state: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = here / "secret"
    secret.write_text("secret", encoding="utf-8")
    made(state / "tree/good")
    (state / "tree/link").symlink_to(secret)
    (state / "tree/folder").symlink_to(here)
    os.mkfifo(state / "tree/pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(state / "tree/s"))
    others = 1 if os.geteuid() == 0 else 0
    if others:
        made(state / "tree/hard", "root's").chmod(0o600)
        os.chown(state / "tree/hard", 0, 0)
    assert hive("alice:tree", ".") == Code.FAILED
    assert sorted(path.name for path in (here / "tree").iterdir()) == ["good"]
    assert capsys.readouterr().err.count("left out") == 4 + others
    for name in ("link", "folder", "pipe"):
        assert hive(f"alice:tree/{name}", "no") == Code.CONFLICT
    assert hive("alice:tree/folder/secret", "no") == Code.CONFLICT
    assert not (here / "no").exists()


def test_a_symlink_in_the_way_is_not_written_through(state: Path, here: Path) -> None:
    (here / "mine").write_text("mine", encoding="utf-8")
    (state / "out").symlink_to(here)
    (state / "file").symlink_to(here / "mine")
    made(state / "from")
    (here / "x").write_text("x", encoding="utf-8")
    assert hive("x", "alice:out/y") == Code.CONFLICT
    assert hive("x", "alice:out") == Code.CONFLICT
    assert hive("x", "alice:file", "--force") == Code.OK
    assert (here / "mine").read_text(encoding="utf-8") == "mine"
    (here / "link").symlink_to("mine")
    assert hive("link", "alice:link") == Code.CONFLICT, "nor is one here"
    assert hive("alice:from", "link", "--force") == Code.OK
    assert (here / "mine").read_text(encoding="utf-8") == "mine"


def test_a_copy_is_bounded(
    state: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with made(state / "tree/holes").open("wb") as file:
        file.truncate(2**40)
    assert hive("alice:tree", ".") == Code.FAILED
    assert "more than 1.0 GiB" in capsys.readouterr().err
    (state / "tree/holes").unlink()
    monkeypatch.setattr(cp, "ENTRIES_MOST", 3)
    for number in range(4):
        made(state / f"tree/{number}")
    assert hive("alice:tree", ".") == Code.FAILED
    assert "more than 3 files and folders" in capsys.readouterr().err
    monkeypatch.setattr(cp, "ENTRIES_MOST", 100)
    monkeypatch.setattr(tree_copy, "DEEPEST", 3)
    made(state / "tree/a/b/c/d")
    assert hive("alice:tree", ".") == Code.USAGE
    assert list(here.iterdir()) == [], "nothing half-made is left"


@contextlib.contextmanager
def swapping(folder: Path, target: Path) -> Iterator[None]:
    """Swap a folder of the agent for a symlink to `target` and back, all the time."""
    stop, aside = threading.Event(), folder.with_name("aside")

    def swap() -> None:
        while not stop.is_set():
            folder.rename(aside)
            folder.symlink_to(target)
            folder.unlink()
            aside.rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def copy(source: str, target: str) -> None:
    """Copy as the command does, without its parser. What is not found, or is a symlink now, is an error."""
    client, bounds = Client(Where(Path("../s").resolve(), Path("../r"))), Bounds(2**20, 100)
    out, into = inside(source), inside(target)
    with contextlib.suppress(HiveError):
        if out is not None:
            cp._from_agent(client, out, Path(target), bounds, force=False)
        elif into is not None:
            cp._to_agent(client, Path(source), into, bounds, force=False)


def test_an_agent_that_swaps_folders_for_symlinks_meanwhile_leads_nowhere(state: Path, here: Path) -> None:
    secrets, data = here / "secrets", here / "data"
    for folder, text in ((secrets, "secret"), (data, "open")):
        folder.mkdir()
        (folder / "f0").write_text(text, encoding="utf-8")
    for number in range(10):
        made(state / f"tree/d/f{number}", "open")
    with swapping(state / "tree/d", secrets):
        for number in range(50):
            copy("alice:tree", f"out{number}")
            copy("alice:tree/d/f0", f"one{number}")
            copy("data", f"alice:tree/d/in{number}")
    copies = [path for path in here.rglob("*") if path.is_file() and path.parent != secrets]
    assert {path.read_text(encoding="utf-8") for path in copies} == {"open"}
    assert list(secrets.iterdir()) == [secrets / "f0"]


ORDINARY = os.geteuid() or 64_999
"""The uid of a user whose agents run as itself."""


def as_user(uid: int, work: Callable[[], None]) -> int:
    """Do `work` in a process of the user's own. Return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_an_ordinary_user_copies_both_ways_what_is_its_own_and_nothing_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="hive-cp-", dir="/tmp") as name:
        place = Path(name)
        for folder in ("s/agents/alice/state", "s/agents/alice/home", "here"):
            (place / folder).mkdir(parents=True)
        (place / "s/agents/alice/state/a").write_text("text", encoding="utf-8")
        for path in (place, *place.rglob("*")):
            os.chown(path, ORDINARY, ORDINARY)
        (place / "s/agents/alice/state/a").chmod(0o4755)
        monkeypatch.chdir(place / "here")

        def work() -> None:
            assert hive("alice:a", ".") == Code.OK
            assert hive("a", "alice:/home/agent/b") == Code.OK

        assert as_user(ORDINARY, work) == 0
        back = place / "s/agents/alice/home/b"
        assert (back.read_text(encoding="utf-8"), back.stat().st_uid) == ("text", ORDINARY)
        assert not back.stat().st_mode & 0o7000
        if os.geteuid() != 0:
            return
        (place / "here").chmod(0o777)

        def foreign() -> None:
            assert hive("alice:a", "mine") == Code.CONFLICT

        assert as_user(ORDINARY + 1, foreign) == 0
        assert not (place / "here/mine").exists()


def test_its_result_is_json_if_asked(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(state / "a", "xyz")
    assert hive("alice:a", ".", "--json") == Code.OK
    assert json.loads(capsys.readouterr().out) == {"files": 1, "folders": 0, "bytes": 3, "left_out": []}
