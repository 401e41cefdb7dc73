"""Each route of the dashboard, walked from the application: without a login, and without a form of that login."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.daemon.web import dashboard_app, inside
from api.http.asgi import App
from api.operations.base import Call
from api.sockets.principals import Operator
from api.ui import answers
from api.ui.access.guard import is_open
from api.ui.access.page import LoginPage
from api.ui.forms import read_form
from api.ui.site import make_site
from meta.config import Config
from reconciler.telemetry.metrics import Metrics
from tests.api.conftest import Hive
from tests.support.asgi import Browser

CONFIG = Config(dashboard_port=8420)
FORM = re.compile(r'<form\b[^>]*method="post"[^>]*>\s*(?P<first>[^>]*)')
TEMPLATES = Path(answers.__file__).parent
FIELD = re.compile(r"\{\w+(:\w+)?\}")


@dataclass
class Routes:
    """The dashboard of a hive, and method and path of each of its routes, with a value for each field."""

    hive: Hive
    app: App
    routes: list[tuple[str, str]]

    def of(self, *methods: str) -> list[tuple[str, str]]:
        """The routes that need a login."""
        return [(method, path) for method, path in self.routes if method in methods and not is_open(path)]


@pytest.fixture
async def site(hive: Hive) -> AsyncIterator[Routes]:
    app = dashboard_app(hive.service, CONFIG, Metrics().dashboard, hive.stopping)
    pages = make_site(Call(hive.service, Operator(), hive.stopping), CONFIG)
    walked = inside(pages, hive.service, LoginPage(pages.templates, "orchard"))
    found = [(method, FIELD.sub("1", route.path)) for route in walked.routes for method in route.methods]
    yield Routes(hive, app, sorted(found))


async def test_no_route_answers_without_a_login(site: Routes) -> None:
    reading, changing = site.of("GET", "HEAD"), site.of("POST")
    assert len(reading) > 15
    assert len(changing) > 3
    assert {path for _, path in changing} >= {"/proposals/1/challenge", "/settings/passkeys/new"}
    for method, path in reading:
        answer = await Browser(site.app).ask(method, path, {"host": "localhost:8420"})
        assert (answer.status, answer.all("location")) == (401, []), (method, path)
    for _, path in changing:
        assert (await Browser(site.app).post(path, "csrf=x")).status == 401, path
    assert site.hive.fake.calls == []


async def test_no_route_changes_anything_without_a_form_of_its_login(site: Routes) -> None:
    opened = await site.hive.fake.access.open_session(0, "", "link", "")
    browser = Browser(site.app, headers={"cookie": f"hive-{site.hive.fake.access.instance}={opened.token}"})
    for _, path in site.of("POST"):
        assert (await browser.post(path)).status == 403, path
        assert (await browser.post(path, origin="http://evil.example")).status == 403, path
        assert (await browser.ask("GET", path, {"host": "localhost:8420"})).status in (200, 400, 404, 405), path
    assert site.hive.fake.calls == []


async def test_a_route_has_no_method_but_those_that_the_guard_knows(site: Routes) -> None:
    assert {method for method, _ in site.routes} <= {"GET", "HEAD", "POST", "OPTIONS"}


async def test_what_needs_no_login_is_the_login_and_files_of_hive(site: Routes) -> None:
    assert {path for _, path in site.routes if is_open(path)} == {
        "/login",
        "/login/passkey",
        "/login/passkey/options",
        "/static/1/1",
    }


def test_each_form_of_a_page_begins_with_the_token_of_its_login() -> None:
    """The guard looks at the first field only."""
    forms = 0
    for file in sorted(TEMPLATES.rglob("*.html")):
        for found in FORM.finditer(file.read_text()):
            if 'action="/login' not in found[0]:
                assert found["first"].startswith(('<input type="hidden" name="csrf"', "{{ shown() }}")), (
                    file.name,
                    found,
                )
                forms += 1
    assert forms > 8


async def test_what_a_form_has_is_read_outside_of_the_event_loop(site: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await site.hive.fake.access.open_session(0, "", "link", "")
    csrf = await site.hive.fake.access.csrf(opened.session)
    browser = Browser(site.app, headers={"cookie": f"hive-{site.hive.fake.access.instance}={opened.token}"})
    readers: list[threading.Thread] = []

    def read(body: bytes) -> list[tuple[str, str]]:
        readers.append(threading.current_thread())
        return read_form(body)

    monkeypatch.setattr(answers, "read_form", read)
    await browser.post("/messages/send", f"csrf={csrf}&text=x")
    assert len(readers) == 1
    assert readers[0] is not threading.current_thread()
