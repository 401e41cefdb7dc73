"""The application of the dashboard, behind its guard. To import this loads all pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from litestar import Litestar

from api.http.asgi import App
from api.operations.base import Call
from api.sockets.principals import Operator
from api.ui.access.guard import guard
from api.ui.access.handlers import login_handlers
from api.ui.access.page import LoginPage
from api.ui.app import application
from api.ui.passkeys.log_in import passkey_login
from api.ui.passkeys.questions import question_handlers
from api.ui.site import Site, make_site
from meta.config import Config
from reconciler.telemetry.dashboard import DashboardState

if TYPE_CHECKING:
    from reconciler.service import Service

ASSETS = "assets"
"""The part that fails if files for browsers are missing."""


def dashboard_app(service: Service, config: Config, state: DashboardState, stopping: asyncio.Event) -> App:
    """Return the application. Files that are missing are reported; pages then do not update themselves.

    Raise HiveError if the settings are not safe. It reads files: call it in a thread.
    """
    site = make_site(Call(service, Operator(), stopping), config)
    if missing := site.assets.missing:
        state.fail(ASSETS, f"the dashboard's pages are not live: {', '.join(missing)} missing; run `make setup`")
    page = LoginPage(site.templates, site.name)
    app = cast("App", inside(site, service, page))  # Litestar types it more narrowly
    return guard(app, service.access, config, page)


def inside(site: Site, service: Service, page: LoginPage) -> Litestar:
    """Return the application behind the guard, with all routes that there are."""
    logins = (*login_handlers(service.access, page, service.disk), *passkey_login(service, page))
    return application(site, (*logins, *question_handlers(site)))
