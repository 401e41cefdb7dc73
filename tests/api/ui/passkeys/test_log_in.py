"""Log in by a passkey through the guard, as a browser does it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from api.daemon.web import dashboard_app
from meta.config import Config
from meta.errors import DiskFull
from reconciler.access.passkeys import Holder
from reconciler.store.database import Database
from reconciler.telemetry.dashboard import DashboardState
from tests.api.conftest import Hive
from tests.support.asgi import Browser
from tests.support.authenticator import SoftKey
from tests.support.guarded import Disk


@pytest.fixture
def browser(hive: Hive) -> Browser:
    """A browser that is not logged in, before the guard and the whole application."""
    config = Config(dashboard_port=8420)
    return Browser(dashboard_app(hive.service, config, DashboardState(), asyncio.Event()))


async def registered(hive: Hive) -> SoftKey:
    key, passkeys, holder = SoftKey(), hive.service.passkeys, Holder("operator uid 0", 0, session="1")
    await passkeys.add(holder, key.create((await passkeys.offer(holder)).options), "phone")
    return key


async def test_a_touch_logs_in_and_leads_to_the_page_that_was_asked_for(hive: Hive, browser: Browser) -> None:
    key = await registered(hive)
    asked = await browser.post("/login/passkey/options")
    assert asked.status == 200
    form = {"credential": key.touch(json.loads(asked.text)["options"]), "next": "/settings"}
    answer = await browser.post("/login/passkey", urlencode(form))
    assert (answer.status, answer.header("location")) == (303, "/settings")
    cookie = answer.header("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    page = await browser.get("/settings", cookie=cookie.partition(";")[0])
    assert page.status == 200
    assert ">passkey</td>" in page.text
    again = await browser.post("/login/passkey", urlencode(form))
    assert again.status == 401, "a touch logs in once"


async def test_on_a_full_disk_a_passkey_logs_in_all_the_same(
    hive: Hive, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, disk, write = await registered(hive), Disk(), Database.write
    monkeypatch.setattr(hive.fake, "borrow", disk.borrow, raising=False)
    monkeypatch.setattr(hive.fake, "take_back", disk.take_back, raising=False)

    async def full(database: Database, work: Any) -> Any:
        if not disk.borrowed:
            raise DiskFull("the disk is full", "make room")
        return await write(database, work)

    monkeypatch.setattr(Database, "write", full)
    asked = json.loads((await browser.post("/login/passkey/options")).text)
    answer = await browser.post("/login/passkey", urlencode({"credential": key.touch(asked["options"])}))
    assert (answer.status, disk.borrowed) == (303, False)
    cookie = answer.header("set-cookie").partition(";")[0]
    assert (await browser.get("/settings", cookie=cookie)).status == 200


async def test_a_login_by_a_passkey_from_another_site_is_refused(hive: Hive, browser: Browser) -> None:
    for path in ("/login/passkey", "/login/passkey/options"):
        answer = await browser.post(path, origin="https://evil.example")
        assert answer.status == 403


async def test_a_passkey_of_somebody_who_is_no_operator_any_more_logs_nobody_in_and_counts_as_refused(
    hive: Hive, browser: Browser
) -> None:
    key, passkeys, holder = SoftKey(), hive.service.passkeys, Holder("operator uid 4242", 4_242, session="1")
    await passkeys.add(holder, key.create((await passkeys.offer(holder)).options), "phone")
    for expected in [401] * 10 + [429]:
        asked = json.loads((await browser.post("/login/passkey/options")).text)
        touch = key.touch(asked.get("options") or await passkeys.login_options())
        answer = await browser.post("/login/passkey", urlencode({"credential": touch}))
        assert answer.status == expected
        assert (expected == 429) or "uid 4242 is not an operator any more" in answer.text.lower()
    assert await hive.service.access.sessions() == []


async def test_refused_touches_are_counted_as_refused_logins(hive: Hive, browser: Browser) -> None:
    statuses = [(await browser.post("/login/passkey", urlencode({"credential": "{}"}))).status for _ in range(12)]
    assert (statuses[0], statuses[-1]) == (401, 429)
    asked = await browser.post("/login/passkey/options")
    assert "too many" in json.loads(asked.text)["error"]


async def test_a_touch_from_another_page_s_question_is_shown_as_no_login_with_a_way_on(
    hive: Hive, browser: Browser
) -> None:
    key = await registered(hive)
    options = await hive.service.passkeys.login_options()
    elsewhere = SoftKey("http://localhost:9", id=key.id, private=key.private)
    answer = await browser.post("/login/passkey", urlencode({"credential": elsewhere.touch(options)}))
    assert answer.status == 401
    assert "hive dashboard" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/proposals/1/challenge",
        "/settings/passkeys/new",
        "/settings/passkeys/x/challenge",
        "/settings/passkeys",
    ],
)
async def test_questions_of_those_who_are_logged_in_need_the_login_and_its_token(
    hive: Hive, browser: Browser, path: str
) -> None:
    assert (await browser.post(path)).status == 401
    opened = await hive.service.access.open_session(0, "", "link", "")
    name = f"hive-{hive.service.access.instance}"
    assert (await browser.post(path, cookie=f"{name}={opened.token}")).status == 403
