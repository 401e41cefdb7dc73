"""The last catch around an ASGI application: what it raises is answered with problem details.

Without it uvicorn answers with plain text, and writes a traceback for each request.
"""

from __future__ import annotations

import json
import logging

from api.http.asgi import App, Message, Receive, Scope, Send
from api.http.problems import MEDIA_TYPE, problem_of
from meta.errors import HiveError

log = logging.getLogger(__name__)
SHOWN = 200
"""Characters of a method or a path in the log."""


def unexpected(method: str, path: str, error: Exception) -> HiveError:
    """Log `error` and return what the peer gets. A peer may cause it again and again, so the log is limited."""
    name = f"{method[:SHOWN]} {path[:SHOWN]}"
    log.error("%s raised an unexpected error", name, exc_info=error, extra={"limited": "unexpected errors over HTTP"})
    return HiveError("hive failed with an internal error", "see the daemon's log")


def with_fallback(app: App) -> App:
    """Return `app`, which raises no Exception for a request."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 (the last catch; unexpected() logs it)
            problem = unexpected(scope["method"], scope["path"], error)
            if not started:
                await _answer(send, problem)
            # else uvicorn ends the connection, because the answer is not whole

    return guarded


async def _answer(send: Send, error: HiveError) -> None:
    problem = problem_of(error)
    content = json.dumps(problem).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": problem["status"], "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
