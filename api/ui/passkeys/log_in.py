"""Log in by the touch of a passkey. It is open to all, so the limit of refused logins counts here too."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from api.http.requests import HttpRequest
from api.operations.full_disk import on_the_reserve
from api.operations.passkeys import Challenge
from api.ui.access.checks import fields_of, local_path
from api.ui.access.handlers import address_of, entered, refused
from api.ui.access.login import maybe_login_of
from api.ui.access.page import LoginPage
from api.ui.passkeys.questions import failed, said
from meta.errors import HiveError, Refused
from reconciler.access.access import Opened

if TYPE_CHECKING:
    from reconciler.service import Service


def passkey_login(service: Service, page: LoginPage) -> tuple[HTTPRouteHandler, ...]:
    """Return the handlers of the question and of the login."""

    @post("/login/passkey/options", status_code=200)
    async def options(request: HttpRequest) -> Response[bytes]:
        """Ask for the touch of any passkey of this dashboard."""
        try:
            service.access.attempts.check(address_of(request))
            return said(Challenge(await service.passkeys.login_options()))
        except HiveError as error:
            return failed(error)

    @post("/login/passkey", status_code=303)
    async def log_in(request: HttpRequest) -> Response[str]:
        """Check a touch, begin a session of the passkey's owner, and go to the page that was asked for."""
        fields = await asyncio.to_thread(fields_of, await request.body())
        asked = local_path(fields.get("next", ""))
        try:
            return entered(service.access, await _opened(service, request, fields.get("credential", "")), asked)
        except HiveError as error:
            return refused(page, error, asked)

    return options, log_in


async def _opened(service: Service, request: HttpRequest, credential: str) -> Opened:
    """Return the new session. Raise Refused, or TransientError if too many logins were refused.

    On a full disk hive's reserve is used, as for a link.
    """
    access, disk, address = service.access, service.disk, address_of(request)
    access.attempts.check(address)
    login = maybe_login_of(request)
    before = login.record if login is not None else None
    browser = request.headers.get("user-agent", "")
    try:
        passkey = await on_the_reserve(disk, lambda: service.passkeys.log_in(credential))
        opening = partial(access.open_session, passkey.uid, passkey.user, "passkey", browser, before)
        return await on_the_reserve(disk, opening)
    except Refused as error:
        await access.refuse(address, error.summary)
