"""Who a request is of: its cookie, and what is answered without a login."""

from __future__ import annotations

import pytest

from api.ui.access.headers import POLICY
from tests.support.guarded import Site, refused


async def test_without_a_login_a_page_is_the_login_page_and_never_a_redirect(site: Site) -> None:
    answer = await site.browser().get("/agents/alice?tab=logs")
    refused(answer, 401)
    assert answer.header("location") == ""
    assert "hive dashboard" in answer.text
    assert 'value="/agents/alice?tab=logs"' in answer.text
    assert site.pages.asked == []


@pytest.mark.parametrize("headers", [{"accept": "text/event-stream"}, {"hx_request": "true"}, {"accept": ""}])
async def test_without_a_login_what_is_no_page_is_401_in_words(site: Site, headers: dict[str, str]) -> None:
    answer = await site.browser().get("/live/agents", **headers)
    refused(answer, 401)
    assert answer.header("content-type").startswith("text/plain")


async def test_a_login_reaches_the_page_as_the_user_of_its_link(site: Site) -> None:
    browser, csrf = await site.logged_in()
    answer = await browser.get("/agents")
    assert (answer.status, answer.text) == (200, "a page")
    ((_, _, login, _),) = site.pages.asked
    assert login is not None
    assert (login.operator.who, login.csrf, login.revoked.is_set()) == ("operator uid 0", csrf, False)
    assert answer.header("x-frame-options") == "DENY", "a page cannot loosen it"
    assert answer.header("content-security-policy") == POLICY


async def test_a_file_that_may_be_kept_says_so_itself_and_needs_no_login(site: Site) -> None:
    answer = await site.browser().get("/static/1/style.css")
    assert (answer.status, answer.header("cache-control")) == (200, "max-age=9")


async def test_a_cookie_that_is_none_of_ours_logs_nobody_in(site: Site) -> None:
    for cookie in ("", "x", "y" * 43, "../x", '"'):
        refused(await site.browser(headers={"cookie": f"hive-{site.access.instance}={cookie}"}).get("/"), 401)


async def test_the_cookie_of_another_hive_on_this_host_is_not_taken(site: Site) -> None:
    opened = await site.session()
    refused(await site.browser(headers={"cookie": f"hive-00000000={opened.token}"}).get("/"), 401)


async def test_two_cookies_of_one_name_count_as_none(site: Site) -> None:
    opened, name = await site.session(), f"hive-{site.access.instance}"
    twice = {"cookie": f"{name}={opened.token}; {name}={'y' * 43}"}
    refused(await site.browser(headers=twice).get("/"), 401)


async def test_a_revoked_session_is_401_at_its_next_request_and_its_streams_end(site: Site) -> None:
    browser, _ = await site.logged_in()
    await browser.get("/live/agents")
    await site.access.revoke_all("operator uid 0")
    login = site.pages.asked[0][2]
    assert login is not None
    assert login.revoked.is_set()
    refused(await browser.get("/live/agents", accept="text/event-stream"), 401)


async def test_a_link_on_another_site_leads_to_the_page_after_all(site: Site) -> None:
    """Such a request lacks the cookie, as it is SameSite=Strict. The page asks again, and then it is of this site."""
    first = await site.browser().get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    again = await site.browser().get("/", sec_fetch_site="same-origin", sec_fetch_mode="navigate")
    assert ('http-equiv="refresh"' in first.text, 'http-equiv="refresh"' in again.text) == (True, False)
