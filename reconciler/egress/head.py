"""The head of a CONNECT, and the answers to it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from meta.network.verdict import Verdict
from reconciler.egress.answers import STATUS, one_line
from reconciler.egress.limits import HEAD_LIMIT
from reconciler.egress.ports import Denied

CONNECT = b"CONNECT "
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
END = b"\r\n\r\n"

_LINE = re.compile(rb"CONNECT ([!-~]{1,300}) HTTP/1\.[01]")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}:[\t -~\x80-\xff]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Target:
    """What a CONNECT names, its host as it was spelled. `rest` came behind the head."""

    host: str
    port: int
    rest: bytes


def is_connect(data: bytes) -> bool | None:
    """Return True if a connection begins with CONNECT, None if there are too few bytes to say."""
    if len(data) < len(CONNECT):
        return None if CONNECT.startswith(data) else False
    return data.startswith(CONNECT)


def parse_connect(data: bytes) -> Target | None:
    """Return the target of a CONNECT, None if more bytes are needed. Raise Denied.

    It is called again with each part that comes, so it looks closely only at a whole head.
    """
    head, end, rest = data.partition(END)
    if len(head) > HEAD_LIMIT:
        raise Denied(Verdict.BAD_REQUEST, f"the-head-is-longer-than-{HEAD_LIMIT}-bytes")
    if head.count(b"\n") != head.count(b"\r\n") or b"\0" in head:
        raise Denied(Verdict.BAD_REQUEST, "the-head-has-an-unclean-line-end")
    if not end:
        return None
    first, *fields = head.split(b"\r\n")
    match = _LINE.fullmatch(first)
    if match is None:
        raise Denied(Verdict.BAD_REQUEST, "not-a-clean-CONNECT-host:port-HTTP/1.1")
    if len(fields) > _FIELDS or not all(_FIELD.fullmatch(line) for line in fields):
        raise Denied(Verdict.BAD_REQUEST, "a-header-is-not-clean")
    return Target(*parse_authority(match[1].decode("ascii")), rest)


def parse_authority(text: str) -> tuple[str, int]:
    """Return the host, as it is spelled, and the port of `host:port`. Raise Denied."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise Denied(Verdict.BAD_REQUEST, "not-host:port")
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise Denied(Verdict.BAD_REQUEST, "not-a-port-from-1-to-65535")
    return host, int(port)


def refusal_answer(denied: Denied) -> bytes:
    """Return the answer to a request that is refused: the reason in the status phrase, because no tool shows a body."""
    status = STATUS.get(denied.verdict, 403)
    phrase = one_line(denied.phrase)
    body = f"{phrase}\n"
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode("ascii")
