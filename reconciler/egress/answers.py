"""What `hive-egress` answers itself: a refusal with its reason in the status phrase, which most tools show.

The key face answers in the form in which APIs of models report errors: their CLIs show its text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import h11

from meta.network.verdict import Verdict
from reconciler.egress.ports import Denied

STATUS: Mapping[Verdict, int] = MappingProxyType(
    {
        Verdict.BAD_REQUEST: 400,
        Verdict.NO_ROUTE: 404,
        Verdict.UNRESOLVED: 502,
        Verdict.UNREACHABLE: 502,
        Verdict.LIMIT: 429,
    }
)
"""The status of each refusal that is not 403."""
_KINDS: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid_request_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
)


def refusal(denied: Denied, method: bytes, *, in_json: bool) -> list[h11.Event]:
    """Return the answer to a request that is denied. The connection ends with it."""
    status = STATUS.get(denied.verdict, 403)
    phrase = one_line(denied.phrase)
    if in_json:
        error = {"type": _KINDS.get(status, "api_error"), "message": f"hive's way out: {phrase}"}
        body = json.dumps({"type": "error", "error": error}).encode()
    else:
        body = f"{phrase}\n".encode()
    headers = [
        (b"content-type", b"application/json" if in_json else b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"connection", b"close"),
    ]
    if status in (400, 403, 404):
        headers.append((b"x-should-retry", b"false"))
    return _answer(h11.Response(status_code=status, headers=headers, reason=phrase.encode("ascii")), method, body)


def document(content: Mapping[str, object], method: bytes) -> list[h11.Event]:
    """Return an answer of JSON."""
    body = json.dumps(content, separators=(",", ":")).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    return _answer(h11.Response(status_code=200, headers=headers, reason=b"OK"), method, body)


def one_line(text: str) -> str:
    """Return a text as printable ASCII on one line, as it may stand in a status line."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:400]


def _answer(head: h11.Response, method: bytes, body: bytes) -> list[h11.Event]:
    return [head, h11.EndOfMessage()] if method == b"HEAD" else [head, h11.Data(data=body), h11.EndOfMessage()]
