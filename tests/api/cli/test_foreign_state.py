"""A state directory, a socket or a file of another user is not believed, by any command."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.core

from api.cli.client import completion, paths
from api.cli.client.http import Client
from api.cli.commands import serve, shell
from api.cli.main import execute
from meta.errors import Refused
from meta.process.ownership import Trusted, require_own, service_of

OTHER, SERVICE = 30_000, 310
COMMANDS = (
    ["status"],
    ["list"],
    ["shell", "alice"],
    ["serve", "--once"],
    ["reconcile"],
    ["reconcile", "--plan"],
    ["doctor"],
    ["doctor", "--fix"],
    ["audit", "verify"],
    ["backup", "/tmp/never.tar"],
    ["restore", "/tmp/never.tar"],
    ["agent-call", "alice", "whoami"],
    ["approve", "1"],
)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of root's, which is the working directory, with a `.hive` in it."""
    directory = Path(tempfile.mkdtemp(prefix="hf", dir="/tmp"))
    (directory / ".hive" / "run").mkdir(parents=True)
    monkeypatch.chdir(directory)
    for name in ("HIVE_STATE", "HIVE_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    yield directory
    shutil.rmtree(directory)


def give(*files: Path) -> None:
    for path in files:
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was opened of the other's hive."""
    opened: list[str] = []
    monkeypatch.setattr(Client, "_open", lambda *_: opened.append("socket"))
    monkeypatch.setattr(shell, "_local", lambda *_: opened.append("shell"))
    monkeypatch.setattr(serve, "_require_git", lambda: None)
    return opened


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_uses_another_users_hive(
    home: Path, called: list[str], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    give(home / ".hive", home / ".hive" / "run")
    assert execute(command) != 0
    told = capsys.readouterr().err
    assert f"belongs to uid {OTHER}" in told
    assert "--state" in told
    assert called == []


def test_completion_is_empty_in_another_users_directory(home: Path, called: list[str]) -> None:
    give(home / ".hive")
    assert completion.agents(typer.Context(typer.core.TyperCommand("shell")), [], "") == []
    assert called == []


@pytest.mark.parametrize("name", [".hive", ".hive/run", ".hive/run/http.sock", ".hive/hive.db", ".hive/meta", "."])
def test_each_thing_on_the_way_counts(home: Path, name: str) -> None:
    for file in (".hive/run/http.sock", ".hive/hive.db", ".hive/meta"):
        (home / file).touch()
    assert paths.find(None, None).state == home / ".hive"
    give(home / name)
    with pytest.raises(Refused, match=f"uid {OTHER}"):
        paths.find(None, None)


@pytest.mark.parametrize(("mode", "fine"), [(0o755, True), (0o1777, True), (0o777, False), (0o775, True)])
def test_nobody_else_may_replace_what_lies_on_the_way(home: Path, mode: int, fine: bool) -> None:
    home.chmod(mode)
    try:
        paths.find(None, None)
    except Refused as error:
        assert not fine
        assert "every user may write" in error.summary
    else:
        assert fine


def test_a_link_of_another_user_is_not_followed(home: Path) -> None:
    (home / "real").mkdir()
    (home / "link").symlink_to("real")
    assert paths.find(str(home / "link"), None).state == home / "link"
    give(home / "link")
    with pytest.raises(Refused, match="the link"):
        paths.find(str(home / "link"), None)


def test_a_group_of_others_may_not_write_on_the_way(home: Path) -> None:
    os.chown(home, 0, 50)
    home.chmod(0o775)
    with pytest.raises(Refused, match="the group 50"):
        paths.find(None, None)


def test_a_file_in_a_repo_that_is_another_users_stops_what_reads_repos(home: Path) -> None:
    config = home / ".hive" / "applied" / "alice" / ".git" / "config"
    config.parent.mkdir(parents=True)
    config.touch()
    where = paths.find(None, None)
    where.require_own_files()
    give(config)
    with pytest.raises(Refused, match=f"config belongs to uid {OTHER}"):
        where.require_own_files()


def test_a_process_of_another_user_on_the_socket_is_not_asked(home: Path) -> None:
    where = paths.find(None, None)
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(where.http))
        os.setresuid(OTHER, OTHER, OTHER)
        listener.listen()
        os.write(told, b"x")
        listener.accept()
        os._exit(0)
    try:
        os.read(ready, 1)
        with pytest.raises(Refused, match=f"uid {OTHER} listens"):
            Client(where).get("/api/status")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)


def test_shell_uses_the_state_directory_that_was_given_and_not_the_answers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".hive" / "backend" / "local" / "alice").mkdir(parents=True)
    entered: list[Path] = []
    monkeypatch.setattr(Client, "row", lambda *_: {"backend": "local", "state": "/somewhere/else"})
    monkeypatch.setattr(Client, "rows", lambda *_: [])

    def local(folder: Path, *_: object) -> int:
        entered.append(folder)
        return 0

    monkeypatch.setattr(shell, "_local", local)
    assert execute(["shell", "alice"]) == 0
    assert entered == [home / ".hive" / "backend" / "local" / "alice"]
    give(entered[0])
    assert execute(["shell", "alice"]) != 0


def test_a_service_account_that_root_gave_the_directory_to_is_believed_but_its_files_are_not_worked_on(
    home: Path,
) -> None:
    state = home / ".hive"
    os.chown(state, SERVICE, SERVICE)
    where = paths.find(None, None)
    assert SERVICE in where.trusted
    with pytest.raises(Refused, match="root does not work in it") as caught:
        where.require_own_files()
    assert f"sudo -u '#{SERVICE}'" in caught.value.hint
    os.chown(home, SERVICE, SERVICE)
    with pytest.raises(Refused, match=f"uid {SERVICE}"):
        paths.find(None, None)


def test_an_ordinary_user_believes_root_and_themselves(home: Path) -> None:
    state = home / ".hive"
    require_own(state, Trusted(OTHER))
    give(state)
    require_own(state, Trusted(OTHER))
    with pytest.raises(Refused, match=f"belongs to uid {OTHER}"):
        require_own(state, Trusted(OTHER + 1))
    assert service_of(state, Trusted(OTHER + 1)) is None


def test_in_a_user_namespace_the_way_may_be_the_hosts(home: Path) -> None:
    os.chown(home, 65_534, 65_534)
    inside = Trusted(0, foreign=65_534)
    require_own(home / ".hive", inside)
    os.chown(home / ".hive", 65_534, 65_534)
    with pytest.raises(Refused, match="uid 65534"):
        require_own(home / ".hive", inside)
