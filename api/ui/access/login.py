"""The login of a request, which the guard puts into its scope."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from api.http.requests import HttpRequest
from api.sockets.principals import Operator


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that has logged in. `session` names it in lists, `csrf` is the token of its forms.

    `revoked` is set when the session ends.
    """

    session: str
    operator: Operator
    csrf: str
    revoked: asyncio.Event = field(default_factory=asyncio.Event)


def login_of(request: HttpRequest) -> Login:
    """Return the login of a request that has passed the guard."""
    return cast("Login", request.scope["state"]["login"])
