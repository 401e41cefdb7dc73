"""For which host a request has to be, and where one for loopback leads."""

from __future__ import annotations

import pytest

from tests.support.guarded import BEHIND_TLS, OWN, Site, refused


async def test_a_request_for_another_host_is_refused_with_the_name_of_this_one(site: Site) -> None:
    browser, _ = await site.logged_in()
    for host in ("", "evil.example:8420", "localhost", "localhost:8421", "127.0.0.1:8420.evil.example"):
        answer = await browser.get("/", host=host)
        refused(answer, 421)
        assert OWN in answer.text
    assert site.pages.asked == []


async def test_two_host_headers_are_refused(site: Site) -> None:
    answer = await site.browser().ask("GET", "/login", {"host": "localhost:8420", "Host": "evil.example"})
    refused(answer, 421)


async def test_the_address_of_loopback_leads_to_localhost_where_passkeys_work(site: Site) -> None:
    for host in ("127.0.0.1:8420", "[::1]:8420"):
        answer = await site.browser().get("/agents?x=1", host=host)
        refused(answer, 307)
        assert answer.header("location") == f"{OWN}/agents?x=1"


@pytest.mark.parametrize("settings", [{"dashboard_origin": "http://hive.localhost:8420"}])
async def test_a_name_below_localhost_has_its_own_cookie_and_localhost_leads_there(site: Site) -> None:
    own = "http://hive.localhost:8420"
    for host in ("localhost:8420", "127.0.0.1:8420", "[::1]:8420"):
        answer = await site.browser().get("/agents", host=host)
        refused(answer, 307)
        assert answer.header("location") == f"{own}/agents"
        refused(await site.browser().post("/login", host=host, origin=own), 421)
    link = (await site.access.make_link(0)).address
    assert link.startswith(f"{own}/login#")
    browser = site.browser(host="hive.localhost:8420")
    answer = await browser.post("/login", f"token={link.partition('#')[2]}")
    assert answer.status == 303
    assert "Domain" not in answer.header("set-cookie"), "a cookie without it is of this name alone"
    assert (await browser.get("/", cookie=answer.header("set-cookie").partition(";")[0])).status == 200


async def test_a_change_is_never_redirected(site: Site) -> None:
    refused(await site.browser().post("/login", host="127.0.0.1:8420"), 421)


async def test_the_redirect_leads_nowhere_else(site: Site) -> None:
    for target in ("http://evil.example/", "@evil.example/", "//evil.example/"):
        answer = await site.browser().get(target, host="127.0.0.1:8420")
        assert answer.header("location").startswith(f"{OWN}/")


@pytest.mark.parametrize("settings", [BEHIND_TLS])
async def test_behind_tls_loopback_is_not_redirected_and_the_usual_port_may_be_written(site: Site) -> None:
    refused(await site.browser().get("/login", host="127.0.0.1:8420"), 421)
    for host in ("hive.example.org", "hive.example.org:443", "HIVE.example.org"):
        assert (await site.browser().get("/login", host=host)).status == 200
