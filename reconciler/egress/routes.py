"""The key face: `/NAME/PATH` is asked of the route's upstream, with the key that the container does not have."""

from __future__ import annotations

import base64
import functools
import re

import h11

from meta.network.routes import Route
from meta.network.rule import authority, bracketed
from meta.network.verdict import Verdict
from reconciler.egress import headers
from reconciler.egress.client import Client
from reconciler.egress.exchange import Exchange
from reconciler.egress.meter import Meter
from reconciler.egress.pool import Unreachable, Upstream, parse_upstream
from reconciler.egress.ports import ROUTE, Denied, Gate

NO_COOKIES = frozenset({b"set-cookie", b"set-cookie2"})
"""Not for the container: a cookie may stand for the key."""

_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%(?:0[0-9A-Fa-f]|1[0-9A-Fa-f]|7[Ff])")
_DOTS = re.compile(rb"(?:^|/)(?:\.|%2[Ee]){1,2}(?:;[^/]*)?(?:/|$)")
_FREE = (b"/count_tokens", b":countTokens")
_NAME = "[A-Za-z0-9._-]+"
"""Of a model: no colon, behind which APIs have their methods."""
_SLASHES = re.compile(rb"%2[Ff]|%5[Cc]")
_HIDDEN = re.compile(rb"%25|%3[Bb]|%[89A-Fa-f][0-9A-Fa-f]|(?:\.|%2[Ee])%20|%20(?:\.|%2[Ee])")
"""Behind these there may be dots and slashes: for a server that decodes twice, ends a segment at `;`, takes other
letters for dots (overlong or full-width ones), or leaves out spaces."""


async def serve_route(client: Client, gate: Gate, request: h11.Request) -> None:
    """Answer one request whose target begins with `/NAME`. Raise Denied, which was counted, or Gone."""
    name, target = split(request.target)
    route, key = gate.route(name)
    try:
        check_path(route, request.method, target)
    except Denied as denied:
        gate.refuse(ROUTE, name, 0, denied)
        raise
    _, host, port = parse_upstream(route.upstream)
    meter = Meter(route.form.metered) if route.form.metered else None
    asked = _asked(route, key, request, target)

    async def connect(fresh: bool) -> Upstream:
        try:
            return await gate.upstreams.take(route.upstream, fresh=fresh)
        except Unreachable as error:
            raise Denied(Verdict.UNREACHABLE, str(error)) from error

    with gate.account(ROUTE, host, port, route.name) as account:
        try:
            upstream = await Exchange(client, gate, account, meter, NO_COOKIES).run(asked, connect)
        finally:
            asked_bytes = account.sent if _has_a_price(request.method, target) else None
            if meter is not None and (tokens := meter.tokens(asked_bytes)) is not None:
                gate.meter(tokens)
    if upstream is not None:
        gate.upstreams.give(upstream)


def split(target: bytes) -> tuple[str, bytes]:
    """Return the name of `/NAME/PATH?QUERY`, and the rest of it. The name may be none at all."""
    name, slash, path = target[1:].partition(b"/")
    return name[:64].decode("ascii", "replace"), slash + path


def check_path(route: Route, method: bytes, target: bytes) -> None:
    """Raise Denied unless the route serves the method and the path.

    Spellings that an upstream may read as another path are refused. An encoded slash, and what may hide one, is fine
    if every path is.
    """
    path = target.partition(b"?")[0]
    served = [path for verb, path in route.paths if verb.encode("ascii") == method]
    whole = "/" in served
    unclean = (
        not path.startswith(b"/")
        or b"//" in path
        or any(mark in target for mark in (b"#", b"\\"))
        or _ESCAPE.search(path)
        or _DOTS.search(path)
        or ((_SLASHES.search(path) or _HIDDEN.search(path)) and not whole)
    )
    if unclean or not (whole or any(_pattern(each).fullmatch(path) for each in served)):
        raise Denied(Verdict.NO_ROUTE, f"the-route-{route.name}-does-not-serve-this-{_method(method)}-path")


def key_header(route: Route, key: str) -> tuple[bytes, bytes]:
    """Return the header with the key."""
    if route.form.basic:
        key = base64.b64encode(f"{route.user}:{key}".encode()).decode("ascii")
    return route.header.encode("ascii"), route.value.replace("{key}", key).encode("ascii")


@functools.cache
def _pattern(path: str) -> re.Pattern[bytes]:
    """Return what matches the paths that one of meta.network.routes.RouteKind.paths serves."""
    text = _NAME.join(map(re.escape, path.split("*"))) + (".*" if path.endswith("/") else "")
    return re.compile(text.encode("ascii"), re.DOTALL)


def _asked(route: Route, key: str, request: h11.Request, target: bytes) -> h11.Request:
    """Return the request as the upstream gets it."""
    is_tls, host, port = parse_upstream(route.upstream)
    there = bracketed(host) if port == (443 if is_tls else 80) else authority(host, port)
    dropped = {name.encode("ascii") for name in (*route.form.strips, route.header)}
    pairs = [(b"host", there.encode("ascii"))]
    if route.form.metered:
        dropped.add(b"accept-encoding")
        pairs.append((b"accept-encoding", b"identity"))
    pairs += headers.without_overrides(headers.kept(request.headers, headers.NOT_FORWARDED | dropped))
    pairs += [key_header(route, key), *headers.framing(request)]
    return h11.Request(method=request.method, target=target, headers=pairs)


def _has_a_price(method: bytes, target: bytes) -> bool:
    """Return True if an answer to this has to name tokens."""
    return method == b"POST" and not target.partition(b"?")[0].endswith(_FREE)


def _method(method: bytes) -> str:
    return method.decode("ascii", "replace")[:16]
