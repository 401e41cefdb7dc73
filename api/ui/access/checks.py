"""What a request must have before anybody looks at it: the right host, and for a change the right origin. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qsl

from api.http.asgi import Scope
from api.ui.access.body import FIELDS
from api.ui.access.headers import only
from reconciler.access.rules import Origin

READING = frozenset({"GET"})
METHODS = READING | {"POST"}
FORM = "application/x-www-form-urlencoded"
CSRF_FIELD = "csrf"
CSRF_HEADER = b"x-csrf-token"
_FIRST = 200
"""Bytes of a form's body in which its token has to be."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in place of the page. `to` is where a redirect goes."""

    status: int
    text: str
    to: str = ""


def refuse_head(scope: Scope, origin: Origin) -> Refusal | None:
    """Return why a request is not for this dashboard, or not from its own pages; None if it is."""
    method = scope["method"]
    if (wrong := _refuse_host(scope, origin)) is not None:
        return wrong
    if method not in METHODS:
        return Refusal(405, "the dashboard knows GET and POST")
    if method in READING:
        return None
    given = only(scope, b"origin")
    if given == origin.text:
        return None
    shown = f"from {given[:100]!r}" if given else "without an Origin"
    return Refusal(403, f"a change {shown} is refused: this dashboard is {origin.text}")


def _refuse_host(scope: Scope, origin: Origin) -> Refusal | None:
    host = only(scope, b"host").lower()
    if host in (origin.authority.lower(), f"{origin.host}:{origin.port}"):
        return None
    loopback = {f"{name}:{origin.port}" for name in ("localhost", "127.0.0.1", "[::1]")}
    if origin.local and host in loopback and scope["method"] in READING:
        # a passkey is bound to a name, which an address is not
        return Refusal(307, f"this dashboard is {origin.text}", to=f"{origin.text}{_target(scope)}")
    return Refusal(421, f"this is not {host[:100]!r}: this dashboard is {origin.text}")


def _target(scope: Scope) -> str:
    """Return path and query as they came. An absolute one ("GET http://other/") is no path."""
    path = bytes(scope.get("raw_path") or b"/").decode("latin-1")
    query = bytes(scope.get("query_string") or b"").decode("latin-1")
    return (path if path.startswith("/") else "/") + (f"?{query}" if query else "")


def is_page(scope: Scope) -> bool:
    """Return True if a browser wants to show the answer as a page, so that a login page is of use to it."""
    htmx = only(scope, b"hx-request")
    return scope["method"] in READING and not htmx and "text/html" in only(scope, b"accept")


def came_from_elsewhere(scope: Scope) -> bool:
    """Return True if a link of another site led here: then browsers leave out the session's cookie."""
    return only(scope, b"sec-fetch-site") == "cross-site" and only(scope, b"sec-fetch-mode") == "navigate"


def is_form(scope: Scope) -> bool:
    """Return True if the body is that of a form."""
    return only(scope, b"content-type").partition(";")[0].strip().lower() == FORM


def token_of(body: bytes) -> str:
    """Return the CSRF token at the beginning of a form's body; "" if its first field is another one.

    The rest is not looked at: it can be long, and nobody knows yet whether it is of a page of this dashboard.
    """
    name, _, value = body[:_FIRST].partition(b"&")[0].partition(b"=")
    return value.decode("latin-1") if name == CSRF_FIELD.encode() else ""


def fields_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form's body that are there once; {} if it is none of a form. Call it in a thread."""
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        return {}
    count = Counter(key for key, _ in fields)
    return {key: value for key, value in fields if count[key] == 1}


def local_path(text: str) -> str:
    """Return a path of this dashboard to go to after the login; "/" for anything else."""
    safe = text.startswith("/") and not text.startswith(("//", "/\\", "/login", "/logout"))
    return text if safe and text.isascii() and text.isprintable() and "\\" not in text and len(text) <= 2_000 else "/"
