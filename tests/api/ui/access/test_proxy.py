"""The login by a reverse proxy: whose header counts, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from api.ui.access.proxy import Proxies
from meta.config import Config
from meta.errors import BadInput, Refused
from tests.support.guarded import BEHIND, PROXY, Site, refused


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
