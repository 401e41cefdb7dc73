"""The login of the runtime of an agent.toml: where it is looked for, what drives it, and what a watcher hears."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from harness.login.make import make_login
from meta.agent_toml.runtimes import RUNTIMES
from meta.agent_toml.settings import AgentSettings
from meta.wire.link import Verb
from tests.harness.login.stand_in import CLI, start_child


async def test_a_login_takes_a_watcher_from_the_reason_to_none(tmp_path: Path) -> None:
    (tmp_path / "claude").write_text(CLI)
    (tmp_path / "claude").chmod(0o755)
    settings = AgentSettings(runtime="claude")
    login = make_login(settings, tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin"}, start_child)
    seen: asyncio.Queue[str | None] = asyncio.Queue()
    watching = asyncio.create_task(login.watch(seen.put_nowait))
    async with asyncio.timeout(20):
        assert await seen.get() == "there is no login"
        await login.driver.control(Verb.LOGIN, "")
        assert await login.driver.control(Verb.LOGIN_CODE, "good#s") == "logged in"
        assert await seen.get() is None
        await login.driver.control(Verb.LOGOUT, "")
        assert await seen.get() == "there is no login"
    watching.cancel()


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_each_runtime_has_a_login(tmp_path: Path, runtime: str) -> None:
    command = {"command": ["x"]} if runtime == "acp" else {}
    settings = AgentSettings.model_validate({"runtime": runtime, **command})
    assert make_login(settings, tmp_path, {}, start_child).credentials.mark() is None


def test_the_folder_below_home_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": {"accessToken": "x"}}))
    assert (
        make_login(AgentSettings(runtime="claude"), tmp_path, {}, start_child).credentials.look().standing == "present"
    )
