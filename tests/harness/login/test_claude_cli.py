"""The login of the real claude, which needs no network until it exchanges the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.login.driver import LoginDriver, Place
from harness.login.presence import Credentials
from harness.login.table import CLAUDE as ROW
from meta.wire.link import Verb
from tests.harness.login.stand_in import start_child

CLAUDE = Path(__file__).parents[3] / "build" / "claude" / "claude_agent_sdk" / "_bundled" / "claude"


@pytest.mark.skipif(not CLAUDE.exists(), reason="`make claude` gets the CLI")
async def test_the_address_comes_out_a_wrong_code_is_refused_and_logout_ends_well(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": f"{CLAUDE.parent}:/usr/bin:/bin", "DISABLE_AUTOUPDATER": "1"}
    driver = LoginDriver(ROW, Place(tmp_path, env), Credentials(ROW, tmp_path, env), start_child)
    try:
        address = await driver.control(Verb.LOGIN, "")
        assert address.startswith("https://")
        assert "/oauth/authorize?" in address
        assert "full code" in await driver.control(Verb.LOGIN_CODE, "half")
        assert await driver.control(Verb.LOGIN_CANCEL, "") == "the login was cancelled"
        assert await driver.control(Verb.LOGOUT, "") == "logged out"
    finally:
        await driver.close()
