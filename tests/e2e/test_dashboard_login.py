"""The login of the dashboard over TCP, with a real daemon: a link of the command line, a cookie, and its end."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator

import pytest

from tests.support.lab import fresh_lab
from tests.support.site import Site, dashboard_settings


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with fresh_lab("login", dashboard_settings()) as lab:
        made = Site(lab)
        made.ready()
        yield made


def ask(site: Site, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
    """Return status, headers and text of one answer."""
    with contextlib.closing(http.client.HTTPConnection("localhost", site.port, timeout=10)) as connection:
        connection.request(method, path, body, {"Accept": "text/html", **headers})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()


def cookie(site: Site) -> dict[str, str]:
    return {"Cookie": "=".join(site.log_in())}


def test_a_browser_with_a_link_sees_the_hive_also_after_a_restart_of_the_daemon(site: Site) -> None:
    status, _, text = ask(site, "GET", "/")
    assert (status, "hive dashboard" in text, "alice" in text) == (401, True, False)
    known = cookie(site)
    assert ask(site, "GET", "/", **known)[0] == 200
    site.lab.kill()
    site.lab.start()
    site.ready()
    assert ask(site, "GET", "/", **known)[0] == 200
    assert len(site.lab.events("dashboard_login")) >= 1


def test_loopbacks_address_leads_to_localhost_and_another_name_leads_nowhere(site: Site) -> None:
    status, headers, _ = ask(site, "GET", "/agents?x=1", Host=f"127.0.0.1:{site.port}")
    assert (status, headers["location"]) == (307, f"{site.origin}/agents?x=1")
    status, _, text = ask(site, "GET", "/", **cookie(site), Host="evil.example")
    assert (status, site.origin in text) == (421, True)


def test_what_a_person_sends_to_another_host_by_one_line_is_no_redirect_elsewhere(site: Site) -> None:
    """A request line may have a whole address, which uvicorn passes on as the path."""
    with socket.create_connection(("127.0.0.1", site.port), 10) as sock:
        sock.sendall(f"GET http://evil.example/x HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        head = sock.recv(65_536).decode()
    assert f"location: {site.origin}/\r\n" in head.lower()


def test_a_revoked_session_ends_its_stream_within_a_second(site: Site) -> None:
    known = cookie(site)
    with contextlib.closing(http.client.HTTPConnection("localhost", site.port, timeout=1)) as connection:
        connection.request("GET", "/live/agents", headers={**known, "Accept": "text/event-stream"})
        answer = connection.getresponse()
        assert answer.status == 200
        said = site.lab.hive("dashboard", "revoke", "--all")
        assert said.code == 0, said.err
        text = answer.read().decode()  # it ends, or the socket's second does
    assert text.endswith("event: over\ndata: login\n\n")
    assert ask(site, "GET", "/live/agents", **known, Accept="text/event-stream")[0] == 401


def test_a_form_of_another_site_changes_nothing(site: Site) -> None:
    known = cookie(site)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(site, "POST", "/logout", "", **known, **form, Origin="http://evil.example")[0] == 403
    assert ask(site, "POST", "/logout", "", **known, **form, Origin=site.origin)[0] == 403, "it has no CSRF token"
    assert ask(site, "GET", "/", **known)[0] == 200


def test_no_log_has_a_token_of_a_link_or_a_cookie(site: Site) -> None:
    token = site.link().partition("#")[2]
    ask(site, "POST", "/login", f"token={token}x", Origin=site.origin)
    _, value = site.log_in()
    log = site.lab.log.read_text(encoding="utf-8")
    assert log
    assert token not in log
    assert value not in log
