"""Log in and log out. The guard has checked the host and the origin of each request before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from litestar import MediaType, Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.http.problems import problem_of
from api.http.requests import HttpRequest
from api.operations.full_disk import on_the_reserve
from api.ui.access.checks import fields_of, local_path
from api.ui.access.headers import cookie_name, set_cookie
from api.ui.access.login import ADDRESS, maybe_login_of
from api.ui.access.page import LoginPage
from api.words.users import with_names
from meta.errors import HiveError, Refused, TransientError
from reconciler.access.access import Access, Opened, Session
from reconciler.access.rules import who

if TYPE_CHECKING:
    from reconciler.upkeep.disk.guard import DiskGuard


def login_handlers(access: Access, page: LoginPage, disk: DiskGuard) -> tuple[HTTPRouteHandler, ...]:
    """Return the handlers of /login and /logout. On a full disk they use hive's reserve: an operator has to get in."""

    @get("/login", media_type=MediaType.HTML)
    async def show_login(request: HttpRequest) -> str:
        """Show how to log in. The token of a link is in the fragment, which only the browser sees."""
        return page.show(local_path(request.query_params.get("next", "/")))

    @post("/login", status_code=303)
    async def log_in(request: HttpRequest) -> Response[str]:
        """Use a link up, set the cookie, and go to the page that was asked for.

        A link of another operator asks first: a stranger can make a browser open one.
        """
        fields = await asyncio.to_thread(fields_of, await request.body())
        asked, token = local_path(fields.get("next", "")), fields.get("token", "").strip()
        login = maybe_login_of(request)
        before = login.record if login is not None else None
        if before is not None and (question := await _as_another(access, page, fields, before)):
            return Response(question, status_code=200, media_type=MediaType.HTML)
        browser, address = request.headers.get("user-agent", ""), address_of(request)
        try:
            opened = await on_the_reserve(disk, lambda: access.log_in(token, browser, address, before))
        except HiveError as error:
            return refused(page, error, asked)
        return entered(access, opened, asked)

    @post("/logout", status_code=303)
    async def log_out(request: HttpRequest) -> Response[str]:
        """End the session of this browser. A reverse proxy's own login stays as it is."""
        login = maybe_login_of(request)
        if login is not None and login.record is not None:
            await on_the_reserve(disk, partial(access.log_out, login.record))
        expired = set_cookie(cookie_name(access.instance), "", secure=access.origin().secure, seconds=0)
        return Response("", status_code=303, headers={"location": "/login", "set-cookie": expired})

    return show_login, log_in, log_out


async def _as_another(access: Access, page: LoginPage, fields: Mapping[str, str], before: Session) -> str:
    """Return the question for a link that another operator than that of `before` made; "" if it is answered."""
    token = fields.get("token", "").strip()
    now, then = who(before), await access.operator_of(token)
    if then in ("", now) or fields.get("replace") == "1":
        return ""
    named = await asyncio.to_thread(lambda: (with_names(now), with_names(then)))
    return page.ask(local_path(fields.get("next", "")), token, *named)


def entered(access: Access, opened: Opened, asked: str) -> Response[str]:
    """Return the answer that sets the cookie of a new session and leads to `asked`."""
    name, seconds = cookie_name(access.instance), access.lifetime.most
    cookie = set_cookie(name, opened.token, secure=access.origin().secure, seconds=seconds)
    return Response("", status_code=303, headers={"location": local_path(asked), "set-cookie": cookie})


def refused(page: LoginPage, error: HiveError, asked: str) -> Response[str]:
    """Return the login page with why a login failed. Nothing of the request is shown."""
    headers = {}
    if isinstance(error, TransientError) and error.retry_after is not None:
        headers["retry-after"] = str(int(error.retry_after))
    status = 429 if headers else 401 if isinstance(error, Refused) else problem_of(error)["status"]
    why = error.summary if isinstance(error, Refused) else f"{error.summary}: {error.hint}"  # the page says how
    text = page.show(asked, why=f"{why[:1].upper()}{why[1:]}.")
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=headers)


def address_of(request: HttpRequest) -> str:
    """Return the address that a request came from, as the guard saw it."""
    return str(request.scope.get("state", {}).get(ADDRESS, ""))
