"""The operator's HTTP on `http.sock`: a thin Litestar application over the service. See docs/reference/http.md."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from litestar import Litestar, Response, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from api.http_commands import COMMANDS
from api.http_metrics import METRICS
from api.http_views import VIEWS
from api.problems import MEDIA_TYPE, problem_of
from api.requests import Ask
from api.stream import events
from meta.errors import BadInput, HiveError, NotFound

if TYPE_CHECKING:
    from reconciler.service import Service

log = logging.getLogger(__name__)


def application(service: Service, stopping: asyncio.Event) -> Litestar:
    """The application. Streams end once `stopping` is set."""
    return Litestar(
        route_handlers=[Router("/api", route_handlers=[*VIEWS, *COMMANDS, events]), *METRICS],
        state=State({"service": service, "stopping": stopping}, deep_copy=False),
        exception_handlers={HiveError: _expected, HTTPException: _http, Exception: _unexpected},
        openapi_config=None,
        logging_config=None,
    )


def _expected(_request: Ask, error: HiveError) -> Response[dict[str, object]]:
    problem = problem_of(error)
    return Response(problem, status_code=problem["status"], media_type=MEDIA_TYPE)


def _http(request: Ask, error: HTTPException) -> Response[dict[str, object]]:
    """What Litestar itself refuses: an unknown path, a wrong method."""
    if error.status_code == 404:
        return _expected(request, NotFound(f"there is no {request.url.path}", "see docs/reference/http.md"))
    known = BadInput(f"{request.method} {request.url.path}: {error.detail}", "see docs/reference/http.md")
    problem = {**problem_of(known), "status": error.status_code}
    return Response(problem, status_code=error.status_code, media_type=MEDIA_TYPE, headers=error.headers)


def _unexpected(request: Ask, error: Exception) -> Response[dict[str, object]]:
    log.error("%s %s failed inside", request.method, request.url.path, exc_info=error)
    return _expected(request, HiveError("hive failed inside while doing this", "see the daemon's log"))
