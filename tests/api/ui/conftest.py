"""The dashboard's application over a fake service, as a browser that has logged in calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
import pytest

from api.http.asgi import App, Receive, Scope, Send
from api.operations.base import Call
from api.sockets.principals import Operator
from api.ui.access.login import Login
from api.ui.app import application
from api.ui.passkeys.questions import question_handlers
from api.ui.render import Viewer
from api.ui.site import Site, make_site
from meta.config import Config
from tests.api.conftest import Hive

CSRF = "csrf-of-this-login"
VIEWER = Viewer(CSRF, "1")


@dataclass(frozen=True)
class Ui:
    """A browser without JavaScript: it gets pages and posts forms."""

    hive: Hive
    site: Site
    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Get a page."""
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> httpx.Response:
        """Post a form as htmx does."""
        return await self.client.post(path, data=dict(fields or {}), headers={"HX-Request": "true", **headers})


@pytest.fixture
async def ui(mute: Hive) -> AsyncIterator[Ui]:
    """Yield a browser of the dashboard, logged in as uid 1000, over the fake service."""
    site = make_site(Call(mute.service, Operator(), mute.stopping), Config(dashboard_name="orchard"))
    app = _logged_in(application(site, question_handlers(site)))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8420") as client:
        yield Ui(mute, site, client)


def _logged_in(app: App) -> App:
    """Stand in for the guard."""

    async def with_login(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["state"] = {**scope.get("state", {}), "login": Login("s1", Operator(1000), CSRF)}
        await app(scope, receive, send)

    return with_login
