"""The operator's HTTP on `http.sock`: a Litestar application, its routes from the table of operations."""

from __future__ import annotations

import asyncio
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from litestar import HttpMethod, Litestar, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from pydantic import TypeAdapter

from api.http.fallback import unexpected
from api.http.openapi import document
from api.http.problems import MEDIA_TYPE, problem_of
from api.http.requests import PATH_FIELD, HttpRequest, Reader, caller
from api.operations.base import AnyOperation, Call, Raw, Route
from api.operations.full_disk import perform
from api.operations.table import OPERATIONS
from meta.errors import BadInput, HiveError, NotFound

if TYPE_CHECKING:
    from reconciler.service import Service

JSON = "application/json"


def application(service: Service, stopping: asyncio.Event) -> Litestar:
    """Return the application. Its streams end when `stopping` is set."""
    return Litestar(
        route_handlers=[
            *(handler(route_handler) for route_handler in route_handlers()),
            openapi,
        ],
        state=State({"service": service, "stopping": stopping}, deep_copy=False),
        exception_handlers={HiveError: _expected, HTTPException: _http, Exception: _unexpected},
        openapi_config=None,
        logging_config=None,
    )


class RouteHandler:
    """Handles one operation on one of its routes."""

    def __init__(self, operation: AnyOperation, route: Route) -> None:
        self._operation = operation
        self.route = route
        self._reader = Reader(operation, route)

    @cached_property
    def output(self) -> TypeAdapter[Any]:
        """Return the adapter of the answer's type.

        It is built at the first answer, so that the daemon starts faster.
        """
        return TypeAdapter(self._operation.json_output)

    async def __call__(self, request: HttpRequest) -> Response[Any]:
        """Run the operation, and return its answer as JSON or, if it is Raw, unchanged."""
        call = Call(request.app.state.service, caller(request), request.app.state.stopping)
        answer = await perform(call, self._operation, await self._reader.read(request))
        if not isinstance(answer, Raw):
            return Response(self.output.dump_json(answer), media_type=JSON, status_code=self.route.status)
        if isinstance(answer.content, bytes):
            return Response(answer.content, media_type=answer.media, headers=dict(answer.headers))
        return Stream(answer.content, media_type=answer.media, headers=dict(answer.headers))


@cache
def route_handlers() -> tuple[RouteHandler, ...]:
    """Return those of the table. They hold no state, so all applications of a process share them."""
    return tuple(RouteHandler(operation, route) for operation in OPERATIONS for route in operation.routes)


def handler(handle_request: RouteHandler) -> HTTPRouteHandler:
    """Return the Litestar handler of an operation on one of its routes."""
    route = handle_request.route

    async def handle(request: HttpRequest) -> Response[Any]:
        return await handle_request(request)

    path = PATH_FIELD.sub(r"{\1:str}", route.path)
    return HTTPRouteHandler(path, http_method=HttpMethod(route.method), status_code=route.status)(handle)


@get("/openapi.json")
async def openapi(request: HttpRequest) -> Response[bytes]:
    """Return the description of this API (OpenAPI 3.1)."""
    service: Service = request.app.state.service
    return Response(document(service.revision), media_type=JSON)


def _expected(_request: HttpRequest, error: HiveError) -> Response[dict[str, object]]:
    problem = problem_of(error)
    return Response(problem, status_code=problem["status"], media_type=MEDIA_TYPE)


def _http(request: HttpRequest, error: HTTPException) -> Response[dict[str, object]]:
    """Return an error that Litestar itself raises: an unknown path, a wrong method.

    It has the path of the scope: `request.url` also parses the Host header, and raises for a port that is no number.
    """
    path = request.scope["path"]
    if error.status_code == 404:
        return _expected(request, NotFound(f"there is no {path}", "see docs/reference/http.md"))
    known = BadInput(f"{request.method} {path}: {error.detail}", "see docs/reference/http.md")
    problem = {**problem_of(known), "status": error.status_code}
    return Response(problem, status_code=error.status_code, media_type=MEDIA_TYPE, headers=error.headers)


def _unexpected(request: HttpRequest, error: Exception) -> Response[dict[str, object]]:
    return _expected(request, unexpected(request.method, request.scope["path"], error))
