"""Which changes reach a page: the origin, the token of the form, the method, the length."""

from __future__ import annotations

from api.ui.access.body import BODY_LIMIT, OPEN_LIMIT
from api.ui.access.checks import fields_of
from tests.support.guarded import OWN, Site, refused

ORIGINS = ("", "null", "http://evil.example", "http://localhost:8421", "https://localhost:8420", f"{OWN}/", f"{OWN}.me")


async def test_a_change_from_another_origin_is_refused(site: Site) -> None:
    browser, csrf = await site.logged_in()
    for path in ("/agents/alice/kill", "/login", "/logout"):
        for origin in ORIGINS:
            refused(await browser.post(path, f"csrf={csrf}", origin=origin), 403)
    assert site.pages.asked == []
    assert (await browser.get("/")).status == 200, "it is still logged in"


async def test_a_change_with_the_token_in_its_form_reaches_the_page_with_the_whole_form(site: Site) -> None:
    browser, csrf = await site.logged_in()
    form = f"csrf={csrf}&reason=b%C3%A4d"
    assert (await browser.post("/deny", form)).status == 200
    assert site.pages.asked[0][3] == form.encode()


async def test_a_form_that_does_not_begin_with_the_token_is_refused_and_not_parsed(site: Site) -> None:
    browser, csrf = await site.logged_in()
    for form in (f"reason=x&csrf={csrf}", f"&csrf={csrf}", f"xcsrf={csrf}", f"csrf={csrf}x", "csrf=%C3%A4", "csrf", ""):
        refused(await browser.post("/deny", form), 403)
    assert site.pages.asked == []


def test_a_field_that_is_there_twice_is_none() -> None:
    assert fields_of(b"a=1&b=2&a=3") == {"b": "2"}
    assert fields_of(b"\xff") == {}


async def test_a_change_with_the_token_in_a_header_reaches_the_page(site: Site) -> None:
    browser, csrf = await site.logged_in()
    answer = await browser.post("/deny", '{"reason": 1}', content_type="application/json", x_csrf_token=csrf)
    assert (answer.status, site.pages.asked[0][3]) == (200, b'{"reason": 1}')


async def test_a_change_without_the_token_is_refused(site: Site) -> None:
    browser, csrf = await site.logged_in()
    for form in ("", "csrf=", "csrf=x", f"CSRF={csrf}", f"csrf={csrf}x", "csrf=\xe4"):
        answer = await browser.post("/deny", form)
        refused(answer, 403)
        assert "nothing was changed" in answer.text
    assert site.pages.asked == []


async def test_the_token_of_another_session_is_refused(site: Site) -> None:
    browser, _ = await site.logged_in()
    _, other = await site.logged_in()
    refused(await browser.post("/deny", f"csrf={other}"), 403)


async def test_a_form_without_end_is_refused(site: Site) -> None:
    browser, csrf = await site.logged_in()
    refused(await browser.post("/send", f"csrf={csrf}&body={'x' * BODY_LIMIT}"), 413)
    refused(await site.browser().post("/login", "x" * (OPEN_LIMIT + 1)), 413)
    assert site.pages.asked == []


async def test_other_methods_are_refused(site: Site) -> None:
    browser, csrf = await site.logged_in()
    for method in ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"):
        refused(await browser.ask(method, "/", {"host": "localhost:8420", "origin": OWN, "x-csrf-token": csrf}), 405)


async def test_head_names_the_methods_that_there_are_without_a_body(site: Site) -> None:
    answer = await site.browser().ask("HEAD", "/", {"host": "localhost:8420", "accept": "text/html"})
    assert (answer.status, answer.header("allow"), answer.body) == (405, "GET, POST", b"")
