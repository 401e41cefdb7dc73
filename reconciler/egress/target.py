"""Where a request is for: its target and its `Host`, in the one spelling that is compared."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

from meta.errors import BadInput
from meta.network.rule import authority, bracketed, canonical_host
from meta.network.verdict import Verdict
from reconciler.egress.ports import Denied

HTTP_PORT = 80

_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,254})(?::([1-9][0-9]{0,4}))?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp]://([^/?#]*)([/?][^#]*)?")


@dataclass(frozen=True, slots=True)
class Authority:
    """A canonical host and a port."""

    host: str
    port: int

    @property
    def header(self) -> bytes:
        """Return it as the value of `Host`."""
        text = bracketed(self.host) if self.port == HTTP_PORT else authority(self.host, self.port)
        return text.encode("ascii")


def authority_of(text: bytes) -> Authority:
    """Return the authority of `host[:port]`. Raise Denied for any other spelling, such as one with a user."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match[2] or 1) > 65_535:
        raise Denied(Verdict.BAD_REQUEST, "bad-request (an-unclean-host)")
    try:
        return Authority(canonical_host(match[1].decode("ascii")), int(match[2] or HTTP_PORT))
    except BadInput as error:
        raise Denied(Verdict.BAD_REQUEST, "bad-request (an-unclean-host)") from error


def absolute(request: h11.Request) -> tuple[Authority, bytes] | None:
    """Return the authority and the path of a target `http://...`; None for a path. Raise Denied for anything else."""
    if request.target.startswith(b"/"):
        return None
    match = _ABSOLUTE.fullmatch(request.target)
    if match is None:
        raise Denied(Verdict.BAD_REQUEST, "bad-request (ask-for-http://HOST/PATH-or-by-CONNECT)")
    path = match[2] or b"/"
    return authority_of(match[1]), path if path.startswith(b"/") else b"/" + path


def host_of(request: h11.Request) -> Authority | None:
    """Return the authority of the `Host` header. None without one, which only HTTP/1.0 may be. Raise Denied."""
    for name, value in request.headers:
        if name == b"host":
            return authority_of(value)
    return None


def check_host(request: h11.Request, authority: Authority) -> None:
    """Raise Denied if the request names another host than the connection, or the target, is for."""
    named = host_of(request)
    if named is not None and named != authority:
        raise Denied(Verdict.HOST_HEADER, f"{named.host}:{named.port}-is-not-{authority.host}:{authority.port}")
