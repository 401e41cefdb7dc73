"""Each route of the dashboard, walked from the application: without a login, and without a form of that login."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest
from litestar import Litestar

from api.daemon.web import dashboard_app
from api.http.asgi import App
from api.operations.base import Call
from api.sockets.principals import Operator
from api.ui.access.guard import is_open
from api.ui.access.handlers import login_handlers
from api.ui.access.page import LoginPage
from api.ui.app import application
from api.ui.site import make_site
from meta.binding import Binding
from meta.config import Config
from reconciler.telemetry.metrics import Metrics
from tests.api.conftest import Hive
from tests.support.asgi import Browser

CONFIG = Config(dashboard_port=8420)
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
    make = dashboard_app(hive.service, CONFIG, Metrics().dashboard, hive.stopping)
    app = make(cast("Binding", None))
    pages = make_site(Call(hive.service, Operator(), hive.stopping), CONFIG)
    inside: Litestar = application(
        pages, login_handlers(hive.fake.access, LoginPage(pages.templates, "orchard"), hive.service.disk)
    )
    found = [(method, FIELD.sub("1", route.path)) for route in inside.routes for method in route.methods]
    yield Routes(hive, app, sorted(found))


async def test_no_route_answers_without_a_login(site: Routes) -> None:
    reading, changing = site.of("GET", "HEAD"), site.of("POST")
    assert len(reading) > 15
    assert len(changing) > 3
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
    assert {path for _, path in site.routes if is_open(path)} <= {"/login", "/login/passkey", "/static/1/1"}
