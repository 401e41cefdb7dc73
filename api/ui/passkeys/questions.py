"""What a form's script asks for before the form is sent: the options of a touch, or of a new passkey, as JSON.

The script posts the form's own fields, so that the touch is for exactly what the form will do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from api.http.problems import problem_of
from api.http.requests import HttpRequest, read_body
from api.operations.base import Call, Input, Nothing
from api.operations.passkeys import PasskeyInput, new_passkey, removal
from api.operations.proposals import ChallengeInput, challenge
from api.ui.acting import do
from api.ui.answers import NOT_KEPT, call_of
from api.ui.forms import input_from, read_form
from api.ui.site import Site
from meta.errors import HiveError

FIELDS_BYTES = 64 * 2**10
"""The largest form that is asked about."""

Ask = Callable[[Call, Any], Coroutine[Any, Any, object]]


def question_handlers(site: Site) -> tuple[HTTPRouteHandler, ...]:
    """Return the handlers of the questions of those who have logged in."""

    async def answer(request: HttpRequest, kind: type[Input], ask: Ask) -> Response[bytes]:
        """Answer with JSON. Fields of the form that belong to its action only are not passed on."""
        try:
            known = {field.alias or name for name, field in kind.model_fields.items()}
            form = await asyncio.to_thread(read_form, await read_body(request, FIELDS_BYTES))
            fields = [row for row in form if row[0] in known]
            return said(await ask(call_of(site, request), input_from(kind, request.path_params, fields)))
        except HiveError as error:
            return failed(error)

    @post("/proposals/{id:str}/challenge", status_code=200)
    async def approval(request: HttpRequest) -> Response[bytes]:
        """Ask for the touch that approves what the form shows."""
        return await answer(request, ChallengeInput, lambda call, asked: do(call, challenge, asked))

    @post("/settings/passkeys/new", status_code=200)
    async def new(request: HttpRequest) -> Response[bytes]:
        """Ask for a new passkey."""
        return await answer(request, Nothing, lambda call, asked: do(call, new_passkey, asked))

    @post("/settings/passkeys/{id:str}/challenge", status_code=200)
    async def remove(request: HttpRequest) -> Response[bytes]:
        """Ask for the touch that a removal needs."""
        return await answer(request, PasskeyInput, lambda call, asked: do(call, removal, asked))

    return approval, new, remove


def said(value: Any) -> Response[bytes]:
    """Return a question as JSON."""
    return _json(asdict(value), 200)


def failed(error: HiveError) -> Response[bytes]:
    """Return why there is no question, in words for the person."""
    return _json({"error": error.summary, "hint": error.hint}, problem_of(error)["status"])


def _json(value: object, status: int) -> Response[bytes]:
    content = json.dumps(value).encode()
    return Response(content, media_type="application/json", status_code=status, headers=dict(NOT_KEPT))
