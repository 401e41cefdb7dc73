"""The login of codex, which removes the login that is there first, and starts in no folder that does not exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.login.driver import LoginDriver
from harness.login.make import make_login
from meta.agent_toml.settings import AgentSettings
from meta.errors import HiveError, PermanentError
from meta.wire.link import Verb
from tests.harness.login.stand_in import start_child

REAL = Path(__file__).parents[3] / "build" / "codex" / "node_modules" / ".bin"
STAND_IN = """\
#!/bin/sh
[ -d "$CODEX_HOME" ] || { echo "CODEX_HOME points to a path that does not exist" >&2; exit 1; }
rm -f "$CODEX_HOME/auth.json"
[ "$1" = login ] || { echo "Successfully logged out"; exit; }
[ ! -e "$HOME/offline" ] || { echo "error sending request" >&2; exit 1; }
echo "1. Open https://auth.openai.com/codex/device"
echo "2. Enter ABCD-12345"
until [ -e "$HOME/entered" ]; do sleep 0.05; done
cat "$HOME/entered" >"$CODEX_HOME/auth.json"
"""
OLD, NEW = (json.dumps({"OPENAI_API_KEY": key}) for key in ("old", "new"))


class Home:
    """A home with the stand-in for codex."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / ".codex"
        self.file = self.folder / "auth.json"
        self.programs = path / "bin"
        self.programs.mkdir()
        (self.programs / "codex").write_text(STAND_IN)
        (self.programs / "codex").chmod(0o755)

    def driver(self, programs: Path | None = None) -> LoginDriver:
        env = {"PATH": f"{programs or self.programs}:/usr/bin:/bin"}
        return make_login(AgentSettings(runtime="codex"), self.path, env, start_child).driver

    def have(self, text: str) -> None:
        self.folder.mkdir()
        self.file.write_text(text)

    def entries(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_a_login_begins_in_a_home_without_the_folder_and_ends_with_the_file_for_its_owner_only(
    home: Home,
) -> None:
    driver = home.driver()
    assert (await driver.control(Verb.LOGIN, "")).startswith("https://auth.openai.com/codex/device\n")
    (home.path / "entered").write_text(NEW)
    assert await driver.control(Verb.LOGIN_CODE, "") == "logged in"
    assert (home.file.read_text(), home.entries()) == (NEW, ["auth.json"])
    assert (home.folder.stat().st_mode & 0o777, home.file.stat().st_mode & 0o777) == (0o700, 0o600)


async def test_a_login_that_is_done_replaces_the_one_that_is_there_only_then(home: Home) -> None:
    home.have(OLD)
    driver = home.driver()
    await driver.control(Verb.LOGIN, "")
    assert home.file.read_text() == OLD
    (home.path / "entered").write_text(NEW)
    await driver.control(Verb.LOGIN_CODE, "")
    assert home.file.read_text() == NEW


async def test_a_login_that_fails_keeps_the_one_that_is_there(home: Home) -> None:
    home.have(OLD)
    (home.path / "offline").touch()
    with pytest.raises(PermanentError, match="ended at once: error sending request"):
        await home.driver().control(Verb.LOGIN, "")
    assert (home.file.read_text(), home.entries()) == (OLD, ["auth.json"])


async def test_a_login_that_is_cancelled_keeps_the_one_that_is_there(home: Home) -> None:
    home.have(OLD)
    driver = home.driver()
    await driver.control(Verb.LOGIN, "")
    await driver.control(Verb.LOGIN_CANCEL, "")
    assert home.file.read_text() == OLD


async def test_what_a_killed_login_left_is_no_part_of_the_next_one(home: Home) -> None:
    home.have(OLD)
    (home.folder / "auth.json.login").mkdir()
    (home.folder / "auth.json.login" / "auth.json").write_text(NEW)
    (home.path / "offline").touch()
    with pytest.raises(PermanentError):
        await home.driver().control(Verb.LOGIN, "")
    assert (home.file.read_text(), home.entries()) == (OLD, ["auth.json"])


async def test_a_logout_removes_the_login_and_is_no_error_without_a_folder(home: Home) -> None:
    assert await home.driver().control(Verb.LOGOUT, "") == "logged out"
    home.file.write_text(OLD)
    assert await home.driver().control(Verb.LOGOUT, "") == "logged out"
    assert not home.file.exists()


@pytest.mark.skipif(not (REAL / "codex").exists(), reason="`make codex` gets the CLI")
async def test_the_real_codex_gets_as_far_as_its_network_and_keeps_the_login_that_is_there(home: Home) -> None:
    driver = home.driver(REAL)
    for before in ((), (OLD,)):
        for text in before:
            home.file.write_text(text)
        with pytest.raises(HiveError, match=r"error sending request|no address") as failed:
            await driver.control(Verb.LOGIN, "")
        assert "does not exist" not in str(failed.value)
        assert [name for name in home.entries() if name.startswith("auth.json")] == ["auth.json"] * len(before)
    assert home.file.read_text() == OLD
