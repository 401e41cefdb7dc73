"""`hive-harness check`: an agent sees what hive would refuse, before a person is asked."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from harness.prompts import check
from harness.prompts.permissions import claude_settings
from meta.agent_toml.settings import AgentSettings
from meta.process.landlock import abi, held_by
from meta.process.run import run


def test_what_hive_takes_is_said_with_what_has_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text('runtime = "codex"\nlimits.max_turns = 3\n')
    assert check.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/agent.toml: hive takes it",
        "NO EFFECT: limits.max_turns: runtime codex: it does not count rounds",
    ]


def test_what_holds_a_scope_in_this_container_is_said(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('runtime = "claude"\n[scope]\nallow = [{ target = "/state", permission = "write" }]\n')
    assert check.check(file) == [f"{file}: hive takes it", f"scope: in this container: {held_by(abi())}"]


def test_claude_gets_what_the_scope_denies_as_rules_for_a_better_message() -> None:
    deny = [
        {"target": "/state/a", "permission": "write"},
        {"target": "/state/b-1", "permission": "read"},
        {"target": "/state/*", "permission": "read"},
        {"target": "/state/c", "permission": "read", "recursive": False},
    ]
    table = {"runtime": "claude", "scope": {"allow": [{"target": "/state", "permission": "write"}], "deny": deny}}
    plain = claude_settings(AgentSettings())["permissions"]["deny"]
    found = claude_settings(AgentSettings.model_validate(table))["permissions"]["deny"]
    assert found[len(plain) :] == ["Edit(//state/a/**)", "Edit(//state/b-1/**)", "Read(//state/b-1/**)"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipient = []", "unknown key, did you mean 'recipients'?"),
        ("prompt = 'for {whom}'", "{whom} is not a placeholder"),
        ("[[script]]\nwhen = '('\nreply = 'x'", "script"),
        ("a = ", "agent.toml"),
    ],
)
def test_what_hive_refuses_is_said_with_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    assert check.main([str(file)]) == 1
    assert words in capsys.readouterr().out


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path)]) == 1
    assert "agent.toml cannot be read: No such file" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a folder"])
def test_what_is_no_file_is_an_error_and_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "agent.toml"
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert check.main([str(tmp_path)]) == 1
    assert "agent.toml cannot be read: it is not a regular file" in capsys.readouterr().out


async def test_the_command_of_the_prompt_works_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.toml").write_text("")
    (tmp_path / "harness.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    done = await run([*shlex.split(check.command()), str(tmp_path)], deadline=30, check=False, env=dict(os.environ))
    assert (done.code, done.text.strip()) == (0, f"{tmp_path}/agent.toml: hive takes it")


@pytest.mark.parametrize("name", ["hive-harness", ".hive-harness-wrapped"])
def test_an_installed_harness_is_called_by_its_own_program(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("sys.argv", [f"/nix/store/x/bin/{name}", "serve"])
    assert check.command() == "/nix/store/x/bin/hive-harness check"
