"""What destroys asks on a terminal, and needs --yes where there is none."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from api.cli.client.exit_codes import Code
from api.cli.client.http import Client
from api.cli.commands.man import leaves
from api.cli.main import execute, parser
from api.cli.render.unit import MARK
from api.cli.terminal import confirm
from api.operations.base import Effect
from api.operations.table import OPERATIONS
from meta.errors import BadInput, Refused

DESTROYS: dict[str, tuple[str, ...]] = {
    "destroy": ("alice",),
    "destroy --purge": ("alice", "--purge"),
    "deny --all": ("--agent", "alice", "--all"),
    "cancel": ("1",),
    "cancel-loose-end": ("reminder", "1"),
    "dead-letters --discard": ("--discard", "1"),
    "backup": ("here.tar",),
    "restore --force": ("here.tar", "--force"),
    "restore --only": ("here.tar", "--only", "meta"),
    "doctor --fix": ("--fix",),
    "down": (),
    "install-service --remove": ("--remove", "--user"),
}
"""Each command that removes something, with the words for it. The rest of a hive is in `home`."""
REVERSIBLE = {
    "stop_all": "`hive start --all` undoes it",
    "kill": "`hive start` undoes it",
    "deny": "one id that was named; `hive retry` proposes it again",
    "logout": "`hive login` undoes it",
    "remove_passkey": "one passkey that was named; its owner adds it again, and what it approved stays valid",
    "network_revoke": "`hive network allow` undoes it",
    "revoke_dashboard_session": "`hive dashboard` logs the browser in again",
    "revoke_dashboard_sessions": "`hive dashboard` logs each browser in again",
    "pod_do": "one run, or one sub-agent, that was named; an agent itself is only stopped",
    "turn_cancel": "the turn of one agent that was named; `hive send` asks for it again",
    "turn_new_session": "of one agent that was named; its notes and the files of the conversation stay",
}
"""Operations with the effect `removes` whose commands do not ask."""
REMOVING = {
    "down": "down",
    "destroy": "destroy",
    "cancel": "cancel",
    "cancel_loose_end": "cancel-loose-end",
    "discard": "dead-letters",
}
"""The command of each other operation with that effect."""


class Changed(Exception):
    """The command went on to change something."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hive whose daemon has one pending proposal and takes no request to change anything."""

    def changed(*_: object, **__: object) -> Any:
        raise Changed

    def rows(_client: Client, path: str, _query: object = None) -> list[dict[str, object]]:
        return [{"id": 1, "agent": "alice"}] if path == "/api/proposals" else []

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".hive" / "quarantine" / "left-by-a-dead-process").mkdir(parents=True)
    (tmp_path / "here.tar").write_bytes(b"precious")
    monkeypatch.setattr(Client, "post", changed)
    monkeypatch.setattr(Client, "delete", changed)
    monkeypatch.setattr(Client, "rows", rows)
    monkeypatch.setattr("api.cli.commands.backup._connect", changed)
    monkeypatch.setattr("reconciler.upkeep.backups.restore.restore", changed)
    monkeypatch.setattr("reconciler.upkeep.doctor.examine._locked", changed)
    monkeypatch.setattr("reconciler.daemon.remains.wait_for_lock", changed)
    unit = tmp_path / "systemd/user/hive.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"{MARK}\n", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("api.cli.commands.install_service.Manager.call", changed)
    return tmp_path


def run(words: list[str], answer: str | None, monkeypatch: pytest.MonkeyPatch) -> tuple[int | None, str]:
    """Run a command with an answer on a terminal, or without one. The code is None if it went on to a change."""
    err = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n" if answer else ""))
    monkeypatch.setattr(confirm, "has_terminal", lambda: answer is not None)
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            return execute(words), err.getvalue()
        except Changed:
            return None, err.getvalue()


@pytest.mark.parametrize("name", DESTROYS)
def test_what_destroys_asks_and_without_a_terminal_needs_yes(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    words = [name.split()[0], *DESTROYS[name]]
    code, err = run(words, None, monkeypatch)
    assert (code, "--yes" in err) == (Code.USAGE, True), err
    assert run(words, "n", monkeypatch)[0] == Code.CONFLICT
    assert run(words, "y", monkeypatch)[0] is None
    assert run([*words, "--yes"], None, monkeypatch)[0] is None
    assert (home / "here.tar").read_bytes() == b"precious"


def test_the_commands_with_yes_are_those_that_destroy_and_every_removing_operation_is_one_of_them() -> None:
    asking = {leaf.name for leaf in leaves(parser()) if any("--yes" in param.opts for param in leaf.command.params)}
    assert asking == {name.split()[0] for name in DESTROYS}
    removing = {operation.name for operation in OPERATIONS if operation.effect is Effect.REMOVES}
    assert removing == set(REMOVING) | set(REVERSIBLE)
    assert set(REMOVING.values()) <= asking


def test_one_proposal_is_not_called_several(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = run(["deny", "--agent", "alice", "--all"], "n", monkeypatch)
    assert "1 proposal of alice would be denied" in err


@pytest.mark.parametrize("words", [["backup", "new.tar"], ["restore", "here.tar"], ["doctor"], ["deny", "1"]])
def test_what_destroys_nothing_does_not_ask(home: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    _, err = run(words, None, monkeypatch)
    assert "--yes" not in err


def test_a_closed_stdin_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(BadInput) as refused:
        confirm.confirm("everything goes", yes=False)
    assert "--yes" in refused.value.hint
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert not confirm.has_terminal()


def test_no_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm, "has_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    with pytest.raises(Refused, match="nothing was changed"):
        confirm.confirm("everything goes", yes=False)
