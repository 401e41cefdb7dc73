"""`hive dashboard`: the link, the browsers that are logged in, and their end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.terminal import browser
from api.words.events import sentence

if TYPE_CHECKING:
    import pytest

    from tests.api.conftest import Hive


async def test_the_link_logs_a_browser_in_as_the_user_who_asked(hive: Hive) -> None:
    code, out, err = await hive.hive("dashboard", "--no-open")
    assert (code, "give it to nobody" in err) == (0, True)
    address, _, token = out.strip().partition("#")
    assert address == "http://localhost:8420/login"
    opened = await hive.fake.access.log_in(token, "Firefox", "127.0.0.1")
    assert opened.session.uid == os.geteuid()


async def test_the_help_of_the_short_form_names_its_options(hive: Hive) -> None:
    code, out, _ = await hive.hive("dashboard", "--help")
    assert code == 0
    assert "--no-open" in out and "--json" in out


async def test_programs_get_the_link_as_json(hive: Hive) -> None:
    code, out, err = await hive.hive("dashboard", "--json")
    made = json.loads(out)
    assert (code, err) == (0, "")
    assert made["address"].startswith("http://localhost:8420/login#")
    assert made["ends_at"] == 1_700_000_000 + 300


async def test_sessions_are_listed_with_hostile_browsers_and_ended_one_by_one(hive: Hive) -> None:
    access = hive.fake.access
    for agent in ("Firefox", "\x1b[2Jevil", "Chromium"):
        await access.open_session(os.geteuid(), "", "link", agent)
    _, out, _ = await hive.hive("dashboard", "sessions")
    assert [line.split()[0] for line in out.splitlines()] == ["ID", "3", "2", "1"]
    assert "\x1b" not in out
    code, out, _ = await hive.hive("dashboard", "revoke", "2")
    assert (code, out.startswith("session 2 of operator ")) == (0, True)
    code, _, err = await hive.hive("dashboard", "revoke", "2")
    assert (code, "there is no session 2" in err) == (3, True)
    _, out, _ = await hive.hive("dashboard", "revoke", "--all")
    assert len(out.splitlines()) == 2
    assert await access.sessions() == []
    _, out, _ = await hive.hive("dashboard", "sessions")
    assert out == "no browser is logged in; `hive dashboard` prints a link\n"


async def test_revoke_wants_one_session_or_all(hive: Hive) -> None:
    for words in ((), ("1", "--all")):
        code, _, err = await hive.hive("dashboard", "revoke", *words)
        assert (code, "give the number of one session, or --all" in err) == (2, True)


def test_the_browser_gets_the_link_in_a_file_and_not_as_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    opener = tmp_path / "xdg-open"
    opener.touch(0o755)
    monkeypatch.setattr(os, "posix_spawn", lambda _, argv, *__, **___: started.append(argv))
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "DISPLAY": ":0", "PATH": str(tmp_path)}
    assert browser.show('http://localhost:8420/login#"x', environment)
    page = tmp_path / browser.FILE
    assert started == [[str(opener), str(page)]]
    assert page.stat().st_mode & 0o777 == 0o600
    assert "http://localhost:8420/login#&quot;x" in page.read_text()


def test_without_a_graphical_session_no_browser_is_opened(tmp_path: Path) -> None:
    assert not browser.show("http://x", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert not browser.show("http://x", {"DISPLAY": ":0"})
    assert not browser.show("http://x", {"XDG_RUNTIME_DIR": str(tmp_path), "DISPLAY": ":0", "PATH": str(tmp_path)})


def test_a_refused_login_is_told_with_how_often() -> None:
    data = {"why": "uid 7 is not an operator any more", "address": "10.0.0.9", "count": 4}
    told = sentence("dashboard_login_refused", {"data": data})
    words = "from 10.0.0.9: uid 7 is not an operator any more (4 since the last report)"
    assert told == f"a login to the dashboard was refused, {words}"
