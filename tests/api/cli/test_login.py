"""`hive login`: the address, the code that is never shown, and an end that leaves no login under way."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.cli.client import secret
from api.cli.client.exit_codes import TimedOut
from api.cli.client.http import Client
from meta.errors import BadInput
from reconciler.views import LoginResult
from tests.support.fake_service import ALICE

if TYPE_CHECKING:
    from tests.api.conftest import Hive


@pytest.fixture
def code(tmp_path: Path) -> str:
    path = tmp_path / "code"
    path.write_text("abc#state\n")
    return str(path)


def verbs(hive: Hive) -> list[str]:
    return [str(call[0]) for call in hive.fake.calls]


async def test_the_address_is_shown_and_the_code_of_a_file_logs_in(hive: Hive, code: str) -> None:
    status, out, err = await hive.hive("login", "alice", "--code-file", code)
    assert (status, err) == (0, "")
    assert out == "Open this address and log in:\n\n  https://claude.ai/oauth/authorize?z-1\n\nlogged in\n"
    ((_, agent, given, _),) = (call for call in hive.fake.calls if call[0] == "login_code")
    assert (agent, given) == (ALICE, "abc#state")


async def test_the_code_comes_from_a_line_of_stdin(hive: Hive) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli.main", "login", "alice"),
        env=hive.environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    hive.fake.logins.answers = [LoginResult(ALICE, "again", "copy all of it")]
    out, err = await asyncio.wait_for(process.communicate(b"half\nabc#state\n"), 30)
    assert process.returncode == 0
    assert out.decode().endswith("logged in\n")
    assert "copy all of it" in err.decode()
    assert [call[2] for call in hive.fake.calls if call[0] == "login_code"] == ["half", "abc#state"]


async def test_an_address_of_an_unknown_host_is_shown_with_a_warning(hive: Hive, code: str) -> None:
    hive.fake.logins.address = "https://claude.ai.evil.example/oauth"
    _, out, _ = await hive.hive("login", "alice", "--code-file", code)
    assert out.startswith("Mind: the address is no login of a provider that hive knows")
    assert "\n  claude.ai.evil.example/oauth\n" in out
    assert "https://claude" not in out  # which a terminal would make a link


async def test_a_login_by_device_is_waited_for_without_a_code(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def login(agent: object, by: str, again: bool, login: str) -> LoginResult:
        return LoginResult(
            ALICE, "address", "Enter this code:\nABCD-1234", "https://auth.openai.com/codex/device", True, "l1"
        )

    monkeypatch.setattr(hive.fake.logins, "start", login)
    hive.fake.logins.answers = [LoginResult(ALICE, "pending", "")] * 2
    status, out, _ = await hive.hive("login", "alice")
    assert (status, out.splitlines()[-3:]) == (0, ["Enter this code:", "ABCD-1234", "logged in"])
    assert [call[2] for call in hive.fake.calls if call[0] == "login_code"] == ["", "", ""]


async def test_ctrl_c_cancels_the_login_in_the_agent(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(prompt: str, seconds: float) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(secret, "from_stdin", interrupt)
    status, _, err = await hive.hive("login", "alice")
    assert status == 130
    assert "the login was cancelled" in err
    assert verbs(hive) == ["login", "login_cancel"]
    assert hive.fake.calls[0][4] == hive.fake.calls[1][2] != ""


async def test_ctrl_c_before_the_address_cancels_only_the_login_of_this_command(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(client: Client, path: str, body: dict[str, object]) -> object:
        answer = send(client, path, body)
        if path.endswith("/login"):
            raise KeyboardInterrupt
        return answer

    send = Client.post
    monkeypatch.setattr(Client, "post", post)
    status, _, _ = await hive.hive("login", "alice")
    assert (status, verbs(hive)) == (130, ["login", "login_cancel"])
    assert hive.fake.calls[0][4] == hive.fake.calls[1][2] != ""


async def test_again_takes_the_place_of_a_login_that_is_under_way(hive: Hive, code: str) -> None:
    await hive.hive("login", "alice", "--again", "--code-file", code)
    await hive.hive("login", "alice", "--code-file", code)
    assert [call[3] for call in hive.fake.calls if call[0] == "login"] == [True, False]


async def test_a_wrong_code_in_a_file_ends_the_login(hive: Hive, code: str) -> None:
    hive.fake.logins.answers = [LoginResult(ALICE, "again", "that is not the full code")]
    status, _, err = await hive.hive("login", "alice", "--code-file", code)
    assert status == 2
    assert "that is not the full code" in err
    assert verbs(hive)[-1] == "login_cancel"


async def test_a_file_that_is_missing_ends_the_login(hive: Hive) -> None:
    status, _, err = await hive.hive("login", "alice", "--code-file", "/nonexistent")
    assert (status, verbs(hive)) == (3, ["login", "login_cancel"])
    assert "there is no file /nonexistent" in err


async def test_a_login_that_takes_too_long_is_cancelled(hive: Hive, code: str) -> None:
    hive.fake.logins.answers = [LoginResult(ALICE, "pending", "")] * 9
    status, _, _ = await hive.hive("login", "alice", "--code-file", code, "--timeout", "0")
    assert (status, verbs(hive)[-1]) == (6, "login_cancel")


async def test_logout(hive: Hive) -> None:
    assert await hive.hive("logout", "alice") == (0, "alice is logged out\n", "")


def test_no_command_takes_the_code_as_an_argument() -> None:
    from api.cli.main import parser

    command = parser().commands["login"]
    assert {parameter.name for parameter in command.params} == {
        "agent",
        "again",
        "code_file",
        "timeout",
        "state",
        "runtime",
        "help",
    } - {"help"}


def test_a_terminal_does_not_echo_the_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, closefd=True) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)

        class Terminal:
            """Types the code once the prompt is written, and the echo is off."""

            def __enter__(self) -> None:
                self.inner = silent()
                self.inner.__enter__()
                os.write(ours, b"s3cret\n")

            def __exit__(self, *ended: object) -> None:
                self.inner.__exit__(None, None, None)

        silent = secret._without_echo
        monkeypatch.setattr(secret, "_without_echo", Terminal)
        assert secret.from_stdin("Code:", 10) == "s3cret"
        os.write(theirs, b"end")
        assert b"s3cret" not in os.read(ours, 100)
    os.close(ours)


@pytest.mark.parametrize("data", [b"", b"\n", b"x" * 5000])
def test_what_is_no_code_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(BadInput):
            secret.from_stdin("Code:", 10)


def test_a_code_that_nobody_enters_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(TimedOut):
            secret.from_stdin("Code:", 0)
    os.close(writing)
