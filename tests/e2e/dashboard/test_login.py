"""The login as a person does it: a link that is opened, one that is typed, one that is over, and the way back in."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from html import escape

import pytest
from playwright.sync_api import expect
from typing_extensions import override

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, Scheme, axe, overflow
from tests.support.site import NAME, Site


@pytest.fixture
def linking(site: Site) -> Iterator[str]:
    """Another site, with a link to the dashboard: such as a chat in which a notification stands."""
    page = f'<!doctype html><title>chat</title><a href="{escape(site.origin)}/agents">agents</a>'.encode()

    class Chat(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_a_link_that_is_opened_logs_in_and_leaves_no_token_in_the_history(visit: Visit, site: Site) -> None:
    page = visit(site.link().removeprefix(site.origin), known=False)
    expect(page.get_by_role("navigation").first).to_be_visible()
    assert page.url == f"{site.origin}/"
    page.go_back()
    assert "#" not in page.url


def test_a_stranger_is_told_how_to_get_in_and_then_gets_to_the_page_that_was_asked_for(
    visit: Visit, site: Site, complaints: Complaints
) -> None:
    complaints.expect("401")
    page = visit("/agents", known=False)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Log in to {NAME}")
    expect(page.get_by_text("hive dashboard")).to_be_visible()
    page.get_by_label("Part of the link after #").fill(site.link().partition("#")[2])
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.origin}/agents")


def test_a_link_that_was_used_says_so_and_the_next_one_works_in_the_same_tab(
    visit: Visit, site: Site, complaints: Complaints
) -> None:
    complaints.expect("401")
    page = visit("/login#" + "x" * 43, known=False)
    expect(page.get_by_role("alert")).to_contain_text("used before")
    page.evaluate("token => { location.hash = token }", site.link().partition("#")[2])
    page.wait_for_url(f"{site.origin}/")


def test_without_javascript_the_form_logs_in(visit: Visit, site: Site) -> None:
    page = visit("/login", known=False, java_script_enabled=False)
    page.get_by_label("Part of the link after #").fill(site.link().partition("#")[2])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{site.origin}/")


def test_a_link_on_another_site_leads_into_the_dashboard_though_its_cookie_is_strict(
    visit: Visit, site: Site, linking: str, complaints: Complaints
) -> None:
    complaints.expect("401|favicon")
    page = visit("/agents")
    page.goto(linking)
    page.get_by_role("link", name="agents").click()
    expect(page.get_by_role("navigation").first).to_be_visible()
    assert page.url == f"{site.origin}/agents"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_login_page_is_accessible_and_fits_a_phone(visit: Visit, scheme: Scheme, complaints: Complaints) -> None:
    complaints.expect("401")
    page = visit("/login#x", size="phone", scheme=scheme, known=False)
    expect(page.get_by_role("alert")).to_be_visible()
    assert axe(page) == []
    assert overflow(page) == []
