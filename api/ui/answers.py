"""The answers to requests: whole pages, streams, parts of pages, files, and what an action did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from litestar import Response
from litestar.response import Stream
from markupsafe import Markup

from api.http.problems import problem_of
from api.http.requests import HttpRequest, read_body
from api.operations.base import Call
from api.ui.access.body import BODY_LIMIT
from api.ui.access.login import Login, login_of
from api.ui.forms import asked_of, input_from, read_form
from api.ui.live.shot import take_feed
from api.ui.live.stream import PROXIED, bounded, feed_stream, page_stream, parts
from api.ui.page import Answered, AnyAction, AnyDownload, AnyFeed, AnyFragment, AnyPage, StreamContext
from api.ui.render import WHO, Viewer, for_viewer
from api.ui.site import Site
from api.ui.summary import NO_COUNTS
from api.ui.wrong import typed_of, ways_from
from api.words.users import with_names
from meta.errors import HiveError, NotFound, TransientError

HTML = "text/html"  # Litestar adds the charset
EVENTS = "text/event-stream"
FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
NOT_KEPT = {"cache-control": "no-store"}

Answer = Response[Any]
Handler = Callable[[HttpRequest], Awaitable[Answer]]


class Pages:
    """Makes a handler of each row of a page's room."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def show(self, page: AnyPage) -> Handler:
        """Return the handler that answers with the whole page."""

        async def handle(request: HttpRequest) -> Answer:
            asked = _asked(page.input, request)
            moment = self._site.hub.moment()
            shot = await self._site.take(page, asked, moment)
            texts = {region.id: Markup(region.text) for region in shot.regions}  # noqa: S704 (a template made it)
            values = {
                **await self._site.common(moment, page.section),
                **shot.shown.values,
                "page": page,
                "title": shot.title,
                "region": texts.__getitem__,
                "stream": _stream_url(request),
                "token": shot.token,
            }
            return self._html(request, self._site.templates.render(page.template, values, moment.at))

        return handle

    def follow(self, page: AnyPage) -> Handler:
        """Return the handler of the page's stream; with `once=1` it answers with what the browser lacks now."""

        async def handle(request: HttpRequest) -> Answer:
            asked = _asked(page.input, request)
            seen = request.headers.get("last-event-id") or request.query_params.get("seen") or ""
            if request.query_params.get("once") == "1":
                shot = await self._site.take(page, asked, self._site.hub.moment())
                headers = {**NOT_KEPT, "x-seen": shot.token}
                return self._html(request, parts(shot.lacking(seen)), headers=headers)
            if (refused := self._too_many(request)) is not None:
                return refused
            return Stream(self._events(request, page, asked, seen), media_type=EVENTS, headers=NOT_KEPT)

        return handle

    def feed(self, feed: AnyFeed) -> Handler:
        """Return the handler of a stream of values for a script."""

        async def handle(request: HttpRequest) -> Answer:
            asked = _asked(feed.input, request)
            seen = request.headers.get("last-event-id") or ""
            if (refused := self._too_many(request)) is not None:
                return refused
            events = _with_feed(self._site, feed, asked, self._call(request), seen, login_of(request))
            return Stream(events, media_type=EVENTS, headers=NOT_KEPT)

        return handle

    def fragment(self, fragment: AnyFragment) -> Handler:
        """Return the handler of a part that is fetched when it is opened."""

        async def handle(request: HttpRequest) -> Answer:
            moment = self._site.hub.moment()
            shown = await fragment.view(moment, _asked(fragment.input, request))
            return self._html(request, self._site.templates.render(fragment.template, shown.values, moment.at))

        return handle

    def download(self, download: AnyDownload) -> Handler:
        """Return the handler of a file."""

        async def handle(request: HttpRequest) -> Answer:
            file = await download.make(self._call(request), _asked(download.input, request))
            headers = {**NOT_KEPT, "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"}
            return Stream(file.content, media_type=file.media, headers=headers)

        return handle

    def act(self, action: AnyAction) -> Handler:
        """Return the handler of a form.

        For htmx the answer is a notice. Without JavaScript a success goes to a page, and an error is a page that has
        what was typed.
        """

        async def handle(request: HttpRequest) -> Answer:
            fields = await asyncio.to_thread(read_form, await read_body(request, BODY_LIMIT))
            try:
                asked = input_from(action.input, request.path_params, fields)
                done = await action.act(self._call(request), asked)
            except HiveError as error:
                if not _is_htmx(request):
                    return self.error(request, error, fields)
                return self._notice(request, error.summary, error.hint, problem_of(error)["status"])
            self._site.call.service.changes.note()
            if _is_htmx(request):
                answer = self._notice(request, done.text, None, 200, done.part)
                if done.go is not None:
                    answer.headers["hx-redirect"] = done.go
                return answer
            if done.part is not None:
                values = {"hive": self._site.name, "text": done.text, "part": done.part, **done.part.values}
                return self._html(request, self._site.templates.render("part.html", values, time.time()))
            return Response(b"", status_code=303, headers={"location": done.go or _came_from(request)})

        return handle

    async def asset(self, request: HttpRequest) -> Answer:
        """Answer with a file of `static/` or `vendor/`."""
        asset = self._site.assets.get(str(request.path_params["name"]))
        if asset is None:
            raise NotFound(f"there is no file {request.path_params['name']}", "load the page again")
        current = request.path_params["tag"] == asset.tag
        headers = {**(FOR_EVER if current else NOT_KEPT), "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.packed, media_type=asset.media, headers={**headers, "content-encoding": "gzip"})
        return Response(asset.content, media_type=asset.media, headers=headers)

    def error(self, request: HttpRequest, error: HiveError, fields: list[tuple[str, str]] | None = None) -> Answer:
        """Answer with a page about an error. `fields` of a form are shown, so that nothing typed is lost."""
        return error_page(self._site, request, error, problem_of(error)["status"], fields)

    def _events(self, request: HttpRequest, page: AnyPage, asked: Any, seen: str) -> Any:
        return _with_view(self._site, page, asked, self._call(request), seen, login_of(request))

    def _too_many(self, request: HttpRequest) -> Answer | None:
        """Return the answer to a login that has too many streams; None if it may have one more."""
        try:
            self._site.hub.admit(_who(login_of(request)))
        except TransientError as error:
            answer = error_page(self._site, request, error, 429)
            answer.headers["retry-after"] = str(int(error.retry_after or 0))
            return answer
        return None

    def _call(self, request: HttpRequest) -> Call:
        return call_of(self._site, request)

    def _html(
        self, request: HttpRequest, text: str, *, status: int = 200, headers: Mapping[str, str] = NOT_KEPT
    ) -> Answer:
        login = login_of(request)
        whole = for_viewer(text, _viewer(login, with_names(login.operator.who) if WHO in text else ""))
        return Response(whole, media_type=HTML, status_code=status, headers=dict(headers))

    def _notice(
        self, request: HttpRequest, text: str, hint: str | None, status: int, part: Answered | None = None
    ) -> Answer:
        values = {"text": text, "hint": hint, "bad": status >= 400, "part": part, **(part.values if part else {})}
        said = self._site.templates.render("parts/notice.html", values, time.time())
        return self._html(request, said, status=status)


def _viewer(login: Login, who: str = "") -> Viewer:
    return Viewer(login.csrf, login.session, who)


def call_of(site: Site, request: HttpRequest) -> Call:
    """Return a call in the name of who has logged in, from that browser's session."""
    login = login_of(request)
    return Call(site.call.service, login.operator, site.call.stopping, session=login.session)


async def _with_feed(site: Site, feed: AnyFeed, asked: Any, call: Call, seen: str, login: Login) -> Any:
    """Yield the events of a feed, and keep its view while somebody reads them."""
    hub = site.hub
    with hub.stream(_who(login)), hub.watch(feed, asked, lambda moment: take_feed(feed, asked, moment)) as view:
        events = _of_login(feed_stream(view, seen, call.stopping, login.revoked), login)
        try:
            async for text in events:
                yield text
        finally:
            await events.aclose()


async def _with_view(site: Site, page: AnyPage, asked: Any, call: Call, seen: str, login: Login) -> Any:
    """Yield the events of a page's stream, and keep its view while somebody reads them."""
    hub = site.hub
    with hub.stream(_who(login)), hub.watch(page, asked, lambda moment: site.take(page, asked, moment)) as view:
        if page.stream is None:
            events = page_stream(view, seen, _viewer(login), call.stopping, login.revoked)
        else:
            events = page.stream(StreamContext(call, view, site.templates, seen, _viewer(login), login.revoked), asked)
        events = _of_login(events, login)
        try:
            async for text in events:
                yield text
        finally:
            await events.aclose()


def _of_login(events: AsyncGenerator[str, None], login: Login) -> AsyncGenerator[str, None]:
    """Return the stream's events, which end by themselves if no session of hive's ends them."""
    return events if login.record is not None else bounded(events, PROXIED)


def _who(login: Login) -> str:
    """Return whose streams are counted together: those of a session, or of a user whom a proxy logs in."""
    return login.session or f"user {login.operator.user}"


def error_page(
    site: Site, request: HttpRequest, error: HiveError, status: int, fields: list[tuple[str, str]] | None = None
) -> Answer:
    """Return the page about an error. Its navigation has no counts: reading them could fail as well."""
    path = request.scope["path"]
    typed = typed_of(fields or [], path)
    hint = "" if (error.hint or "").startswith("see docs/") else error.hint  # what that page says is for programs
    said = {"summary": error.summary, "hint": hint, "status": status}
    navigation = {"section": "", "counts": NO_COUNTS}
    values = {"hive": site.name, "ways": ways_from(path), "typed": typed, **navigation, **said}
    text = site.templates.render("error.html", values, 0.0)
    return Response(text, media_type=HTML, status_code=status, headers=dict(NOT_KEPT))


def _asked(kind: Any, request: HttpRequest) -> Any:
    return asked_of(kind, request.path_params, request.query_params.multi_items())


def _stream_url(request: HttpRequest) -> str:
    path = request.scope["path"].rstrip("/")
    query = request.scope["query_string"].decode("ascii", "replace")
    return f"/live{quote(path)}{'?' + query if query else ''}"


def _is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("hx-request") == "true"


def _came_from(request: HttpRequest) -> str:
    """Return path and query of the page with the form, which the guard has found to be of this origin."""
    page = urlsplit(request.headers.get("referer", ""))
    path = page.path if page.path.startswith("/") and not page.path.startswith("//") else "/"
    return f"{path}?{page.query}" if page.query else path
