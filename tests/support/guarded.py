"""A dashboard's guard around an application that answers everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from litestar import Litestar

from api.http.asgi import App, Receive, Scope, Send
from api.ui.access.guard import guard
from api.ui.access.handlers import login_handlers
from api.ui.access.headers import POLICY
from api.ui.access.login import Login
from api.ui.access.page import LoginPage
from api.ui.render import Templates
from meta.config import Config
from reconciler.access.access import Access, Opened
from reconciler.access.members import Members
from reconciler.store.database import Database
from tests.support.asgi import Answer, Browser

OWN = "http://localhost:8420"
PAGE = LoginPage(Templates(lambda name: f"/static/{name}"), "orchard")
BEHIND_TLS = {"dashboard_origin": "https://hive.example.org", "dashboard_behind_proxy": True}
PROXY = {
    **BEHIND_TLS,
    "dashboard_proxies": "10.0.0.1 fd00::1",
    "dashboard_login_header": "Remote-User",
}
BEHIND = {"host": "hive.example.org"}
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


def refused(answer: Answer, status: int) -> None:
    """It has this status and the headers of every answer."""
    assert answer.status == status, answer.text
    assert answer.header("content-security-policy") == POLICY
    assert {name: answer.header(name) for name in SECURITY} == SECURITY
    assert answer.header("cache-control") == "no-store"
