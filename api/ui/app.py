"""The dashboard's Litestar application: its routes from the pages' rooms. The guard stands before it."""

from __future__ import annotations

from collections.abc import Iterator

from litestar import HttpMethod, Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from api.http.fallback import unexpected
from api.http.problems import problem_of
from api.http.requests import PATH_FIELD, HttpRequest
from api.ui.answers import Answer, Handler, Pages, error_page
from api.ui.pages.registry import ROOMS
from api.ui.site import Site
from meta.errors import BadInput, HiveError, NotFound


def application(site: Site, more: tuple[HTTPRouteHandler, ...] = ()) -> Litestar:
    """Return the application. `more` are handlers of the login."""
    return Litestar(
        route_handlers=[*(_route(*row) for row in routes(site)), *more],
        state=State({"site": site}, deep_copy=False),
        exception_handlers={HiveError: _expected, HTTPException: _http, Exception: _unexpected},
        openapi_config=None,
        logging_config=None,
    )


def routes(site: Site) -> Iterator[tuple[HttpMethod, str, Handler]]:
    """Yield method, path and handler of each route, but for those of the login."""
    pages = Pages(site)
    yield HttpMethod.GET, "/static/{tag}/{name}", pages.asset
    for room in ROOMS:
        for page in room.pages:
            yield HttpMethod.GET, page.path, pages.show(page)
            yield HttpMethod.GET, f"/live{page.path.rstrip('/')}", pages.follow(page)
        for fragment in room.fragments:
            yield HttpMethod.GET, fragment.path, pages.fragment(fragment)
        for download in room.downloads:
            yield HttpMethod.GET, download.path, pages.download(download)
        for feed in room.feeds:
            yield HttpMethod.GET, feed.path, pages.feed(feed)
        for action in room.actions:
            yield HttpMethod.POST, action.path, pages.act(action)


def _route(method: HttpMethod, path: str, handler: Handler) -> HTTPRouteHandler:
    async def handle(request: HttpRequest) -> Answer:
        return await handler(request)

    return HTTPRouteHandler(PATH_FIELD.sub(r"{\1:str}", path), http_method=method, status_code=200)(handle)


def _expected(request: HttpRequest, error: HiveError) -> Answer:
    return error_page(request.app.state.site, request, error, problem_of(error)["status"])


def _http(request: HttpRequest, error: HTTPException) -> Answer:
    """Return an error that Litestar itself raises: an unknown path, a wrong method."""
    path = request.scope["path"]
    known: HiveError = BadInput(str(error.detail), "go back and load the page again")
    if error.status_code == 404:
        known = NotFound(f"there is no page {path}", "the navigation has all pages")
    return error_page(request.app.state.site, request, known, error.status_code)


def _unexpected(request: HttpRequest, error: Exception) -> Answer:
    known = unexpected(request.method, request.scope["path"], error)
    return error_page(request.app.state.site, request, known, 500)
