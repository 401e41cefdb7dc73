"""Headers and cookies of requests and answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from api.http.asgi import Scope

RawHeaders = list[tuple[bytes, bytes]]

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
"""No inline script or style. Tests collect violations on every page."""
SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # with no-referrer a browser would send `Origin: null` with forms, which the guard refuses
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""On every answer."""
NO_STORE = (b"cache-control", b"no-store")


def values(scope: Scope, name: bytes) -> list[str]:
    """Return all values of a request's header. `name` is in lower case."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def only(scope: Scope, name: bytes) -> str:
    """Return a header's value; "" if it is missing or there twice."""
    found = values(scope, name)
    return found[0] if len(found) == 1 else ""


def cookie(scope: Scope, name: str) -> str:
    """Return a cookie's value; "" if it is missing or there twice."""
    pairs = (part.partition("=") for header in values(scope, b"cookie") for part in header.split(";"))
    found = [value.strip() for key, _, value in pairs if key.strip() == name]
    return found[0] if len(found) == 1 else ""


def cookie_name(instance: str) -> str:
    """Return the name of the session's cookie: browsers do not tell the ports of a host apart."""
    return f"hive-{instance}"


def set_cookie(name: str, token: str, *, secure: bool, seconds: float) -> str:
    """Return the `Set-Cookie` of a new session. With an empty token the cookie is removed.

    `token` has only letters, digits, `-` and `_`.
    """
    parts = [f"{name}={token}", "Path=/", f"Max-Age={int(seconds)}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if secure else parts)


def secured(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return an answer's headers with those of SECURITY in place of its own, and not stored unless it says so."""
    ours = {name for name, _ in SECURITY}
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    caching = [] if any(name.lower() == NO_STORE[0] for name, _ in kept) else [NO_STORE]
    return [*kept, *SECURITY, *caching]
