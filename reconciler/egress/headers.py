"""The headers of a message that go on to the other side, and the one that frames its body."""

from __future__ import annotations

from collections.abc import Iterable

import h11

Pairs = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"proxy-authentication-info", b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"http2-settings"),
    }
)
_OVERRIDES = frozenset(
    {b"forwarded", b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-rewrite-url", b"x-host"}
)
_OVERRIDES_BEGIN = (b"x-forwarded-", b"x-original-")
NOT_FORWARDED = HOP_BY_HOP | {b"host", b"content-length"}


def kept(headers: Iterable[tuple[bytes, bytes]], dropped: Iterable[bytes]) -> Pairs:
    """Return the headers that go on: not those of the connection itself, nor those that `Connection` names."""
    pairs = list(headers)
    named = {part.strip().lower() for name, value in pairs if name == b"connection" for part in value.split(b",")}
    away = named.union(dropped)
    return [(name, value) for name, value in pairs if name not in away]


def without_overrides(pairs: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Return the headers but for those by which a server may take another method, path or host than was checked.

    Some servers read an underscore in a name as a hyphen.
    """
    return [(name, value) for name, value in pairs if not _is_override(name.lower().replace(b"_", b"-"))]


def _is_override(name: bytes) -> bool:
    return name in _OVERRIDES or name.startswith(_OVERRIDES_BEGIN)


def framing(request: h11.Request) -> Pairs:
    """Return the header that frames the body. The request's own have no contradiction (client.head_fault)."""
    headers = dict(request.headers)
    if b"transfer-encoding" in headers:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", headers[b"content-length"])] if b"content-length" in headers else []


def response(answer: h11.Response, dropped: frozenset[bytes] = frozenset()) -> h11.Response:
    """Return the head of an answer as the agent gets it. h11 adds how its body is framed if no length does."""
    is_chunked = any(name == b"transfer-encoding" for name, _ in answer.headers)
    away = HOP_BY_HOP | dropped | ({b"content-length"} if is_chunked else set())
    return h11.Response(status_code=answer.status_code, headers=kept(answer.headers, away), reason=answer.reason)


def wants_websocket(request: h11.Request) -> bool:
    """Return True if the request asks for a websocket. Other upgrades are dropped: h2c would hide the next hosts."""
    headers = dict(request.headers)
    tokens = {part.strip().lower() for part in headers.get(b"connection", b"").split(b",")}
    return (
        request.method == b"GET"
        and b"upgrade" in tokens
        and headers.get(b"upgrade", b"").strip().lower() == b"websocket"
        and not framing(request)
    )
