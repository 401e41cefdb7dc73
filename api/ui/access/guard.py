"""The guard around the dashboard: no request reaches a page without passing it.

In order: the host is this dashboard's (against DNS rebinding), a change comes from one of its own pages (Origin), there
is a login (cookie, or the header of a trusted proxy), and a change has the login's CSRF token. Every answer gets the
security headers. /login, /login/... and /static/... need no login; a change there needs the Origin all the same.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api.http.asgi import App, Message, Receive, Scope, Send
from api.http.problems import problem_of
from api.sockets.principals import Operator
from api.ui.access import body as bodies
from api.ui.access.checks import (
    CSRF_HEADER,
    READING,
    Refusal,
    came_from_elsewhere,
    is_form,
    is_page,
    local_path,
    refuse_head,
    token_of,
)
from api.ui.access.headers import cookie, cookie_name, only, secured
from api.ui.access.login import ADDRESS, KEY, Login
from api.ui.access.page import LoginPage
from api.ui.access.proxy import Proxies
from meta.config import Config
from meta.errors import BadInput, HiveError
from reconciler.access.access import Access
from reconciler.access.rules import Origin

log = logging.getLogger(__name__)

OPEN = ("/login", "/login/", "/static/")
"""Paths that need no login: that one, and what is below those with a slash at the end."""

Answer = Callable[[Send], Awaitable[None]]


def guard(app: App, access: Access, config: Config, page: LoginPage) -> App:
    """Return `app` behind the guard. Raise HiveError if the dashboard is off, or its settings are not safe."""
    guarded = Guard(app, access, access.origin(), Proxies.of(config), page)

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await guarded(scope, receive, send)
        elif scope["type"] == "lifespan":
            await app(scope, receive, send)

    return run


def is_open(path: str) -> bool:
    """Return True if a path needs no login."""
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in OPEN)


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks of one dashboard."""

    app: App
    access: Access
    origin: Origin
    proxies: Proxies
    page: LoginPage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: by the application, or with what it lacks."""
        shielded = _shielded(send)
        if (refusal := refuse_head(scope, self.origin)) is not None:
            await _refuse(refusal, scope, shielded)
            return
        try:
            login = await self._login(scope)
        except HiveError as error:
            status = 401 if isinstance(error, BadInput) else problem_of(error)["status"]
            await _refuse(Refusal(status, error.describe()), scope, shielded)
            return
        scope["state"] = {**scope.get("state", {}), KEY: login, ADDRESS: self.proxies.client(scope)}
        is_free = is_open(scope["path"])
        if login is None and not is_free:
            await self._ask_for_login(scope, shielded)
        elif scope["method"] in READING:
            await self.app(scope, receive, shielded)
        else:
            await self._change(None if is_free else login, scope, receive, shielded)

    async def _login(self, scope: Scope) -> Login | None:
        if user := self.proxies.user(scope):
            browser = only(scope, b"user-agent")
            return Login("", Operator(None, user), await self.access.came_by_proxy(user, browser))
        token = cookie(scope, cookie_name(self.access.instance))
        session = await self.access.session_of(token) if token else None
        if session is None:
            return None
        operator = Operator(session.uid, session.user)
        csrf = await self.access.csrf(session)
        return Login(str(session.id), operator, csrf, self.access.revoked(session), session)

    async def _change(self, login: Login | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a change on if it has the CSRF token of `login`, in a header or in the first field of its form."""
        token = only(scope, CSRF_HEADER)
        if login is None or (not token and is_form(scope)):
            limit = bodies.OPEN_LIMIT if login is None else bodies.BODY_LIMIT
            try:
                body = await bodies.read(receive, limit)
            except bodies.TooLong:
                await _refuse(Refusal(413, f"the body is longer than {limit} bytes"), scope, send)
                return
            except bodies.Gone:
                return  # nobody is there to be answered; uvicorn ends the connection
            token, receive = token or token_of(body), bodies.replayed(body, receive)
        if login is not None and not hmac.compare_digest(token.encode(), login.csrf.encode()):
            text = "the form is not of this login: load the page again; nothing was changed"
            await _refuse(Refusal(403, text), scope, send)
            return
        await self.app(scope, receive, send)

    async def _ask_for_login(self, scope: Scope, send: Send) -> None:
        """Answer 401, never a redirect: the stream of a page would follow it for ever."""
        if not is_page(scope):
            await _refuse(Refusal(401, "log in: `hive dashboard` on the host prints a link"), scope, send)
            return
        query = bytes(scope.get("query_string") or b"").decode("latin-1")
        asked = local_path(scope["path"] + (f"?{query}" if query else ""))
        page = self.page.show(asked, again=came_from_elsewhere(scope)).encode()
        await _answer(401, b"text/html; charset=utf-8", page, scope, send)


async def _refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    extra = [(b"location", refusal.to.encode("latin-1"))] if refusal.to else []
    extra += [(b"allow", b"GET, POST")] if refusal.status == 405 else []
    await _answer(refusal.status, b"text/plain; charset=utf-8", f"{refusal.text}\n".encode(), scope, send, extra)


async def _answer(
    status: int, media: bytes, content: bytes, scope: Scope, send: Send, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", media), (b"content-length", str(len(content)).encode()), *(extra or [])]
    if scope["method"] not in READING:
        headers.append((b"connection", b"close"))  # its body was not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def _shielded(send: Send) -> Send:
    """Return a `send` that adds the security headers."""

    async def shielded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": secured(message.get("headers", ()))}
        await send(message)

    return shielded
