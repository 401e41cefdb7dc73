"""`[credentials.NAME]` of the operator's file: one key that stays outside, checked. Standard library only."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from meta.errors import BadInput
from meta.names import ALL, agent_name
from meta.network.routes import KINDS, Route
from meta.network.rule import authority, bracketed, canonical_host
from meta.network.tables import Table, named, require_known, text_at, texts_at

KEYS = ("kind", "file", "upstream", "header", "value", "user", "agents", "paths")
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""Of a key or a group."""

_PATH = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[!-~]*)")
_HEADER = re.compile(r"[a-z0-9-]{1,64}")
_OF_THE_MESSAGE = frozenset(
    {
        *("host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "content-type", "content-encoding", "expect"),
    }
)
"""Headers that say how a message is read: a key in one would break the request."""
_URL = re.compile(r"https?://[!-~]+")
_USER = re.compile(r"[!-9;-~]{1,128}")
_TEXT_LIMIT = 1000


def parse_route(name: str, row: object) -> Route:
    """Return the key of a table, with the defaults of its kind filled in. Raise BadInput with what is wrong."""
    where = f"credentials.{name[:80]}"
    if not NAME.fullmatch(name):
        raise BadInput(f"{where}: a name has a-z, 0-9 and -, at most 32: it becomes a part of a path")
    if not isinstance(row, dict):
        raise BadInput(f"{where}: must be a table")
    require_known(row, KEYS, where)
    kind = text_at(row, "kind", name, where)
    form = KINDS.get(kind)
    if form is None:
        raise BadInput(f"{where}.kind: {kind[:80]!r} is no kind; there are {', '.join(KINDS)}")
    paths = tuple(_path(text, where) for text in texts_at(row, "paths", where)) if "paths" in row else form.paths
    return Route(
        name,
        kind,
        _upstream(text_at(row, "upstream", form.upstream, where), where),
        _file(row, where),
        _header(text_at(row, "header", form.header, where), where),
        _value(text_at(row, "value", form.value, where), where),
        paths,
        _agents(row, where),
        _user(text_at(row, "user", "x-access-token", where), where),
    )


def _file(row: Table, where: str) -> str:
    file = text_at(row, "file", "", where)
    if not file.startswith("/") or "\0" in file:
        raise BadInput(f"{where}.file: must be the absolute path of the file with the key")
    return file


def _header(text: str, where: str) -> str:
    header = text.lower()
    if not _HEADER.fullmatch(header) or header in _OF_THE_MESSAGE:
        raise BadInput(f"{where}.header: {text[:80]!r} is no header for a key")
    return header


def _value(text: str, where: str) -> str:
    if "{key}" not in text or not text.isprintable() or not text.isascii() or len(text) > _TEXT_LIMIT:
        raise BadInput(f"{where}.value: must contain {{key}}, in printable ASCII, at most {_TEXT_LIMIT} characters")
    return text


def _user(text: str, where: str) -> str:
    if not _USER.fullmatch(text):
        raise BadInput(f"{where}.user: must be ASCII without spaces and without ':'")
    return text


def _agents(row: Table, where: str) -> frozenset[str]:
    if "agents" not in row:
        return frozenset({ALL})
    names = texts_at(row, "agents", where)
    return frozenset(name if name == ALL else named(f"{where}.agents", agent_name, name) for name in names)


def _upstream(text: str, where: str) -> str:
    """Return the URL in one spelling: scheme, host and, if it is given, the port."""
    fault = BadInput(f"{where}.upstream: {text[:80]!r} must be https://HOST or https://HOST:PORT")
    if not _URL.fullmatch(text) or "@" in text:
        raise fault
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise fault from error
    if not parts.hostname or port == 0 or parts.path not in ("", "/") or "?" in text or "#" in text:
        raise fault
    host = named(f"{where}.upstream", canonical_host, parts.hostname)
    return f"{parts.scheme}://{bracketed(host) if port is None else authority(host, port)}"


def _path(text: str, where: str) -> tuple[str, str]:
    match = _PATH.fullmatch(text)
    if match is None:
        raise BadInput(f"{where}.paths: {text[:80]!r} must be like 'POST /v1/messages'")
    return match[1], match[2]
