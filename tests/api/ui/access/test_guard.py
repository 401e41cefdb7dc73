"""The guard around an application that answers everything: which requests reach it, and as whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from litestar import Litestar

from api.http.asgi import App, Receive, Scope, Send
from api.ui.access.body import BODY_LIMIT, OPEN_LIMIT
from api.ui.access.checks import fields_of, local_path
from api.ui.access.guard import guard
from api.ui.access.handlers import login_handlers
from api.ui.access.headers import POLICY
from api.ui.access.login import Login
from api.ui.access.page import LoginPage
from api.ui.access.proxy import Proxies
from api.ui.render import Templates
from meta.config import Config
from meta.errors import BadInput, DiskFull, Refused
from reconciler.access.access import Access, Opened
from reconciler.access.members import Members
from reconciler.store.database import Database
from tests.support.asgi import Answer, Browser

OWN = "http://localhost:8420"
PAGE = LoginPage(Templates(lambda name: f"/static/{name}"), "orchard")
BEHIND_TLS = {"dashboard_origin": "https://hive.example.org", "dashboard_behind_proxy": True}
SECURITY = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin", "x-frame-options": "DENY"}


@dataclass
class Disk:
    """The reserve of a disk: free while it is borrowed."""

    borrowed: bool = False

    async def borrow(self) -> bool:
        self.borrowed = True
        return True

    async def take_back(self) -> None:
        self.borrowed = False


@dataclass
class Pages:
    """An application that answers everything, and keeps who asked for what. /login and /logout are the real ones."""

    access: Access
    disk: Disk = field(default_factory=Disk)
    asked: list[tuple[str, str, Login | None, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        handlers = [*login_handlers(self.access, PAGE, cast("Any", self.disk))]
        self._login = cast("App", Litestar(handlers, openapi_config=None, logging_config=None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ("/login", "/logout"):
            await self._login(scope, receive, send)
            return
        body = (await receive())["body"]
        self.asked.append((scope["method"], scope["path"], scope["state"].get("login"), body))
        headers = [(b"content-type", b"text/html"), (b"x-frame-options", b"ALLOWALL")]
        headers += [(b"Cache-Control", b"max-age=9")] if scope["path"].startswith("/static/") else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"a page"})


@dataclass
class Site:
    """A dashboard of one hive. `login` logs a browser in."""

    database: Database
    socket: Path
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        self.config = Config.model_validate({"dashboard_port": 8420, **self.settings})
        self.access = Access(self.database, self.config, Members(self.socket))
        self.pages = Pages(self.access)
        self.app = guard(self.pages, self.access, self.config, PAGE)

    def browser(self, **changes: Any) -> Browser:
        return Browser(self.app, **changes)

    async def session(self) -> Opened:
        return await self.access.open_session(0, "", "link", "Firefox")

    async def logged_in(self) -> tuple[Browser, str]:
        """A browser with a session, and its CSRF token."""
        opened = await self.session()
        cookie = {"cookie": f"hive-{self.access.instance}={opened.token}"}
        return self.browser(headers=cookie), await self.access.csrf(opened.session)


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
async def site(tmp_path: Path, settings: dict[str, Any]) -> AsyncIterator[Site]:
    async with await Database.open(tmp_path / "hive.db") as database:
        yield Site(database, tmp_path / "http.sock", settings)


def refused(answer: Answer, status: int) -> None:
    """It has this status and the headers of every answer."""
    assert answer.status == status, answer.text
    assert answer.header("content-security-policy") == POLICY
    assert {name: answer.header(name) for name in SECURITY} == SECURITY
    assert answer.header("cache-control") == "no-store"


# the login
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


# the host
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


# changes
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


# a reverse proxy's login
PROXY = {
    **BEHIND_TLS,
    "dashboard_proxies": "10.0.0.1 fd00::1",
    "dashboard_login_header": "Remote-User",
}
BEHIND = {"host": "hive.example.org"}


@pytest.mark.parametrize("settings", [PROXY])
@pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"])
async def test_a_trusted_proxy_names_the_user(site: Site, address: str) -> None:
    browser = site.browser(**BEHIND, client=(address, 1))
    assert (await browser.get("/", remote_user="anna@example.org")).status == 200
    login = site.pages.asked[0][2]
    assert login is not None
    assert (login.session, login.operator.who) == ("", "operator anna@example.org")
    change = {"origin": "https://hive.example.org", "x_csrf_token": login.csrf}
    assert (await browser.post("/deny", **change, remote_user="anna@example.org")).status == 200
    refused(await browser.post("/deny", **change, remote_user="bert"), 403)


@pytest.mark.parametrize("settings", [PROXY])
async def test_nobody_else_can_name_a_user(site: Site) -> None:
    for address in ("10.0.0.2", "127.0.0.1", "::1", "fd00::2", "unix"):
        refused(await site.browser(**BEHIND, client=(address, 1)).get("/", remote_user="anna"), 401)


@pytest.mark.parametrize("settings", [{**PROXY, "dashboard_login_header": ""}])
async def test_without_the_setting_no_header_counts(site: Site) -> None:
    refused(await site.browser(**BEHIND, client=("10.0.0.1", 1)).get("/", remote_user="anna"), 401)


@pytest.mark.parametrize("settings", [PROXY])
async def test_a_name_that_is_none_is_refused_and_not_shortened(site: Site) -> None:
    for name in ("anna b", "<script>", "x" * 65, "uid 0"):
        refused(await site.browser(**BEHIND, client=("10.0.0.1", 1)).get("/", remote_user=name), 401)


@pytest.mark.parametrize("settings", [PROXY])
async def test_a_header_that_is_there_twice_is_refused(site: Site) -> None:
    headers = {"host": "hive.example.org", "remote-user": "anna", "Remote-User": "root"}
    refused(await site.browser(client=("10.0.0.1", 1)).ask("GET", "/", headers), 401)


@pytest.mark.parametrize("settings", [PROXY])
async def test_behind_a_proxy_without_its_header_the_cookie_counts(site: Site) -> None:
    opened = await site.session()
    cookie = {"cookie": f"hive-{site.access.instance}={opened.token}"}
    assert (await site.browser(**BEHIND, client=("10.0.0.1", 1), headers=cookie).get("/")).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"dashboard_proxies": ""},
        {"dashboard_behind_proxy": False},
        {"dashboard_proxies": "10.0.0.0/8"},
        {"dashboard_proxies": "proxy.example.org"},
    ],
)
def test_a_login_header_that_anybody_could_send_is_refused_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Proxies.of(Config.model_validate({"dashboard_port": 8420, **PROXY, **wrong}))


@pytest.mark.parametrize("settings", [PROXY])
async def test_one_client_of_a_proxy_cannot_lock_the_others_out(site: Site) -> None:
    proxied = {"client": ("10.0.0.1", 1), "host": "hive.example.org"}
    origin = "https://hive.example.org"
    for _ in range(10):
        await site.browser(**proxied).post(
            "/login", "token=x", origin=origin, x_forwarded_for="192.0.2.1, 198.51.100.7"
        )
    for forwarded, status in (("198.51.100.7", 429), ("192.0.2.9, 198.51.100.7", 429), ("192.0.2.1", 401)):
        answer = await site.browser(**proxied).post("/login", "token=x", origin=origin, x_forwarded_for=forwarded)
        assert answer.status == status, forwarded


async def test_without_a_proxy_nobody_chooses_the_address_that_is_counted(site: Site) -> None:
    answers = [await site.browser().post("/login", "token=x", x_forwarded_for=f"192.0.2.{n}") for n in range(11)]
    assert answers[-1].status == 429


# log in and log out
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


@pytest.mark.parametrize("settings", [PROXY])
async def test_who_comes_by_a_proxy_is_listed_with_the_browser_and_has_no_session_to_end(site: Site) -> None:
    proxied = site.browser(client=("10.0.0.1", 1), host="hive.example.org", headers={"remote-user": "anna"})
    for _ in range(2):
        assert (await proxied.get("/", user_agent="Phone")).status == 200
    await site.session()
    listed = {(view.id, view.by, view.how, view.browser) for view in await site.access.sessions()}
    assert listed == {(0, "operator anna", "proxy", "Phone"), (1, "operator uid 0", "link", "Firefox")}
    with pytest.raises(Refused, match="a proxy logs in"):
        await site.access.revoke(0, "operator uid 0")
