"""Logging in by a link, and logging out."""

from __future__ import annotations

from typing import Any

import pytest

from api.ui.access.checks import local_path
from meta.errors import DiskFull
from tests.support.guarded import BEHIND, BEHIND_TLS, Site, refused


async def test_the_link_sets_a_cookie_and_leads_to_the_page_that_was_asked_for(site: Site) -> None:
    token = (await site.access.make_link(0)).address.partition("#")[2]
    answer = await site.browser().post("/login", f"token={token}&next=%2Fagents%3Fx%3D1")
    assert (answer.status, answer.header("location")) == (303, "/agents?x=1")
    (cookie,) = answer.all("set-cookie")
    pair, *attributes = cookie.split("; ")
    assert set(attributes) == {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={4 * 168 * 3600}"}
    assert pair.startswith(f"hive-{site.access.instance}=")
    assert (await site.browser(headers={"cookie": pair}).get("/agents")).status == 200


@pytest.mark.parametrize("settings", [BEHIND_TLS])
async def test_behind_tls_the_cookie_is_secure(site: Site) -> None:
    token = (await site.access.make_link(0)).address.partition("#")[2]
    answer = await site.browser(**BEHIND).post("/login", f"token={token}", origin="https://hive.example.org")
    assert "Secure" in answer.header("set-cookie").split("; ")


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "javascript:x", "/login", "", "/\xe4"]
)
def test_the_login_leads_to_a_page_of_this_site_or_to_the_first_one(to: str) -> None:
    assert local_path(to) == "/"


async def test_a_link_of_another_operator_asks_before_it_replaces_a_login(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever makes a browser open a link has its next approvals recorded under another name."""
    monkeypatch.setattr("os.geteuid", lambda: 4_242)  # the daemon's own user is an operator, and so is root
    browser, _ = await site.logged_in()
    token = (await site.access.make_link(4_242)).address.partition("#")[2]
    asked = await browser.post("/login", f"token={token}&next=%2Fagents")
    assert (asked.status, asked.all("set-cookie")) == (200, [])
    assert "operator uid 4242" in asked.text
    assert (await browser.get("/")).status == 200, "it is logged in as before"
    answer = await browser.post("/login", f"token={token}&next=%2Fagents&replace=1")
    assert (answer.status, answer.header("location")) == (303, "/agents")
    refused(await browser.get("/"), 401)


async def test_a_new_link_of_the_same_operator_replaces_the_login_at_once(site: Site) -> None:
    browser, _ = await site.logged_in()
    token = (await site.access.make_link(0)).address.partition("#")[2]
    assert (await browser.post("/login", f"token={token}")).status == 303


async def test_a_link_that_is_over_is_the_login_page_with_the_reason(site: Site) -> None:
    answer = await site.browser().post("/login", f"token={'x' * 43}&next=%2Fagents")
    refused(answer, 401)
    assert "used before" in answer.text
    assert 'value="/agents"' in answer.text
    assert answer.all("set-cookie") == []


async def test_too_many_refused_logins_are_429_with_the_time_to_wait(site: Site) -> None:
    answers = [await site.browser().post("/login", "token=x") for _ in range(11)]
    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert 1 <= int(answers[-1].header("retry-after")) <= 6


async def test_a_hostile_path_is_text_on_the_login_page(site: Site) -> None:
    answer = await site.browser().get('/"><script>alert(1)</script>')
    assert "<script>alert" not in answer.text


async def test_on_a_full_disk_a_link_works_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    token = (await site.access.make_link(0)).address.partition("#")[2]
    write, disk = site.database.write, site.pages.disk

    async def full(work: Any) -> Any:
        if not disk.borrowed:
            raise DiskFull("the disk is full", "make room")
        return await write(work)

    monkeypatch.setattr(site.database, "write", full)
    answer = await site.browser().post("/login", f"token={token}")
    assert (answer.status, disk.borrowed) == (303, False)
    cookie = answer.header("set-cookie").partition(";")[0]
    assert (await site.browser(headers={"cookie": cookie}).get("/")).status == 200


async def test_logging_out_ends_the_session_and_removes_the_cookie(site: Site) -> None:
    browser, csrf = await site.logged_in()
    answer = await browser.post("/logout", f"csrf={csrf}")
    assert (answer.status, answer.header("location")) == (303, "/login")
    assert answer.header("set-cookie").startswith(f"hive-{site.access.instance}=; Path=/; Max-Age=0")
    refused(await browser.get("/"), 401)


async def test_a_get_logs_nobody_out(site: Site) -> None:
    browser, _ = await site.logged_in()
    assert (await browser.get("/logout")).status == 405
    assert (await browser.get("/")).status == 200
