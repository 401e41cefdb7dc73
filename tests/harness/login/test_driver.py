"""A login over pipes: the address out, the code in. It can be cancelled, it ends by itself, nothing of it is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.login import driver, process
from harness.login.driver import LoginDriver, Place
from harness.login.presence import Credentials, Standing
from harness.login.table import CLAUDE, CODEX, TABLE, LoginRow
from meta.errors import Conflict, HiveError, PermanentError, Refused, TransientError
from meta.wire.link import Verb
from tests.harness.login.stand_in import CLI, Child, start_child

ADDRESS = "https://claude.ai/oauth/authorize?z-1234567890"


class Agent:
    """A home with a CLI, and the driver of its login."""

    def __init__(self, tmp_path: Path, row: LoginRow = CLAUDE, **env: str) -> None:
        self.home, programs = tmp_path / "home", tmp_path / "bin"
        self.home.mkdir()
        programs.mkdir()
        (programs / "claude").write_text(CLI)
        (programs / "claude").chmod(0o755)
        self.env = {"HOME": str(self.home), "PATH": f"{programs}:/usr/bin:/bin", **env}
        self.credentials = Credentials(row, self.home, self.env)
        self.children: list[Child] = []
        self.driver = LoginDriver(row, Place(self.home, self.env), self.credentials, self._start)

    async def _start(self, argv: object, env: object, cwd: object) -> Child:
        child = await start_child(argv, env, cwd)  # type: ignore[arg-type]
        self.children.append(child)
        return child

    async def do(self, verb: Verb, text: str = "") -> str:
        return await self.driver.control(verb, text)

    @property
    def file(self) -> Path:
        return self.home / ".claude" / ".credentials.json"


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    await agent.driver.close()
    assert not [child for child in agent.children if child.running]


async def test_the_address_comes_out_and_the_code_logs_in(agent: Agent) -> None:
    assert agent.credentials.look().standing is Standing.MISSING
    assert await agent.do(Verb.LOGIN) == ADDRESS
    assert await agent.do(Verb.LOGIN_CODE, "good#state") == "logged in"
    assert agent.credentials.look().standing is Standing.PRESENT
    with pytest.raises(Conflict, match="no login is under way"):
        await agent.do(Verb.LOGIN_CODE, "good#state")


async def test_a_wrong_code_is_asked_for_again_and_the_login_goes_on(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    for code in ("half", "half"):
        answer = await agent.do(Verb.LOGIN_CODE, code)
        assert answer == "again: That doesn't look like the full code ([code]). Copy all of it."
    assert await agent.do(Verb.LOGIN_CODE, "good#state") == "logged in"


async def test_a_code_that_the_provider_refuses_ends_the_login_with_the_reason(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    with pytest.raises(PermanentError, match="Couldn't log in: status 400"):
        await agent.do(Verb.LOGIN_CODE, "refused#state")
    assert await agent.do(Verb.LOGIN) == ADDRESS


@pytest.mark.parametrize("code", ["two words", "two\nlines", "a" * 5000, "ünïcode"])
async def test_text_that_is_no_code_does_not_reach_the_cli(agent: Agent, code: str) -> None:
    await agent.do(Verb.LOGIN)
    assert (await agent.do(Verb.LOGIN_CODE, code)).startswith("again: that is no code")
    assert await agent.do(Verb.LOGIN_CODE, "good#state") == "logged in"


async def test_a_cancelled_login_leaves_no_process(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    assert await agent.do(Verb.LOGIN_CANCEL) == "the login was cancelled"
    assert not agent.children[0].running
    assert await agent.do(Verb.LOGIN_CANCEL) == "no login is under way"
    with pytest.raises(Conflict, match="was cancelled"):
        await agent.do(Verb.LOGIN_CODE, "good#state")


async def test_a_cancel_does_not_wait_behind_a_code_that_is_judged(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    judged = asyncio.create_task(agent.do(Verb.LOGIN_CODE, "slow#state"))
    await asyncio.sleep(0)
    await agent.do(Verb.LOGIN_CANCEL)
    with pytest.raises(Conflict, match="was cancelled"):
        await judged


async def test_a_second_login_is_refused_and_the_first_goes_on(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    with pytest.raises(Conflict, match="a login is under way for less than a minute") as refused:
        await agent.do(Verb.LOGIN)
    assert "--again" in refused.value.hint
    assert await agent.do(Verb.LOGIN_CODE, "good#state") == "logged in"


async def test_a_login_can_begin_after_one_was_cancelled_ended_or_failed(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    await agent.do(Verb.LOGIN_CANCEL)
    await agent.do(Verb.LOGIN)
    with pytest.raises(PermanentError):
        await agent.do(Verb.LOGIN_CODE, "refused#state")
    assert await agent.do(Verb.LOGIN) == ADDRESS


async def test_a_login_does_not_wait_behind_a_code_that_is_judged(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    judged = asyncio.create_task(agent.do(Verb.LOGIN_CODE, "slow#state"))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="under way"):
        await agent.do(Verb.LOGIN)
    await agent.do(Verb.LOGOUT)
    with pytest.raises(Conflict, match="was cancelled"):
        await judged


async def test_a_login_that_is_cancelled_while_its_cli_starts_is_over(agent: Agent) -> None:
    starting = asyncio.create_task(agent.do(Verb.LOGIN))
    await asyncio.sleep(0)
    assert await agent.do(Verb.LOGIN_CANCEL) == "the login was cancelled"
    with pytest.raises(Conflict, match="was cancelled"):
        await starting
    assert not agent.children[0].running
    assert await agent.do(Verb.LOGIN) == ADDRESS


async def test_a_login_that_nobody_finishes_ends_by_itself(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOGIN_SECONDS", 0.2)
    await agent.do(Verb.LOGIN)
    assert await agent.children[0].wait() < 0
    with pytest.raises(Conflict, match="took more than"):
        await agent.do(Verb.LOGIN_CODE, "good#state")


async def test_a_code_that_is_judged_for_long_gets_an_answer_and_the_login_goes_on(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "CODE_SECONDS", 0.2)
    await agent.do(Verb.LOGIN)
    for code in ("slow#state", ""):
        assert await agent.do(Verb.LOGIN_CODE, code) == "pending"
    assert agent.children[0].running


async def test_neither_the_code_nor_the_address_is_logged_or_shown(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await agent.do(Verb.LOGIN)
    wrong = await agent.do(Verb.LOGIN_CODE, "topsecret")
    with pytest.raises(PermanentError) as refused:
        await agent.do(Verb.LOGIN_CODE, "refused#topsecret")
    assert "topsecret" not in f"{wrong} {refused.value} {refused.value.hint}"
    assert "topsecret" not in caplog.text
    assert "oauth" not in caplog.text
    assert "topsecret" not in (agent.home / "calls").read_text()


async def test_a_cli_that_prints_no_address_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ADDRESS_SECONDS", 0.2)
    agent = Agent(tmp_path, SILENT="1")
    with pytest.raises(TransientError, match="no address"):
        await agent.do(Verb.LOGIN)
    assert not agent.children[0].running


async def test_a_cli_that_ends_at_once_is_reported_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="ended at once: no network"):
        await Agent(tmp_path, GONE="1").do(Verb.LOGIN)


async def test_logout_removes_the_login(agent: Agent) -> None:
    await agent.do(Verb.LOGIN)
    await agent.do(Verb.LOGIN_CODE, "good#state")
    assert await agent.do(Verb.LOGOUT) == "logged out"
    assert not agent.file.exists()
    assert agent.credentials.look().standing is Standing.MISSING


async def test_a_logout_that_leaves_the_login_is_an_error(tmp_path: Path) -> None:
    agent = Agent(tmp_path, STUCK="1")
    agent.file.parent.mkdir()
    agent.file.write_text(json.dumps({"claudeAiOauth": {"accessToken": "x"}}))
    with pytest.raises(PermanentError, match="still there"):
        await agent.do(Verb.LOGOUT)


async def test_a_cli_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="codex is not installed"):
        await Agent(tmp_path, CODEX).do(Verb.LOGIN)


async def test_a_command_of_agent_toml_takes_the_place_of_the_program(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    (tmp_path / "bin" / "claude").rename(tmp_path / "bin" / "other")
    place = Place(agent.home, agent.env, ("other", "-x"))
    with pytest.raises(PermanentError, match="ended at once"):  # it knows no -x
        await LoginDriver(CLAUDE, place, agent.credentials, start_child).control(Verb.LOGIN, "")
    assert (agent.home / "calls").read_text() == "-x auth login\n"


@pytest.mark.parametrize("runtime", ["script", "gemini", "opencode", "acp"])
@pytest.mark.parametrize("verb", [Verb.LOGIN, Verb.LOGOUT])
async def test_a_login_that_hive_cannot_drive_says_what_to_do_instead(tmp_path: Path, runtime: str, verb: Verb) -> None:
    with pytest.raises(Refused) as error:
        await Agent(tmp_path, TABLE[runtime]).do(verb)
    assert error.value.hint == TABLE[runtime].instead


async def test_a_login_by_device_shows_the_code_for_the_person_and_ends_by_itself(tmp_path: Path) -> None:
    agent = Agent(tmp_path, CODEX)
    program = tmp_path / "bin" / "codex"
    program.write_text(
        "#!/bin/sh\necho 'Open this link:'\necho '  https://auth.openai.com/codex/device'\n"
        "echo 'Enter this code:'\necho '  ABCD-1234X'\n"
        "until [ -e $HOME/done ]; do sleep 0.05; done\n"
        """echo '{"tokens": {"access_token": "x"}}' >$CODEX_HOME/auth.json\n"""
    )
    program.chmod(0o755)
    shown = (await agent.do(Verb.LOGIN)).splitlines()
    assert shown == ["https://auth.openai.com/codex/device", "Open this link:", "Enter this code:", "ABCD-1234X"]
    (agent.home / "done").touch()
    assert await agent.do(Verb.LOGIN_CODE) == "logged in"


async def test_what_the_operator_needs_is_found_in_any_number_of_lines(tmp_path: Path) -> None:
    agent = Agent(tmp_path, CODEX)
    program = tmp_path / "bin" / "codex"
    noise = "seq -f 'warning %.0f of many, of no use for the person who logs in' 1000\n"
    code, link = "echo '  ABCD-1234X'\n", "echo https://auth.openai.com/codex/device\n"
    program.write_text(f"#!/bin/sh\n{noise}{code}{noise}{link}{noise}exec sleep 60\n")
    program.chmod(0o755)
    address, shown, *others = (await agent.do(Verb.LOGIN)).splitlines()
    assert (address, shown) == ("https://auth.openai.com/codex/device", "ABCD-1234X")
    assert len(others) < process.SHOWN_LINES
    await agent.driver.close()


async def test_every_runtime_has_a_row() -> None:
    from meta.agent_toml.runtimes import RUNTIMES

    assert TABLE.keys() == RUNTIMES


async def test_another_verb_is_refused(agent: Agent) -> None:
    with pytest.raises(HiveError):
        await agent.do(Verb.COMPACT)
