"""Odd values in every place of every route: refused with a problem, never a failure inside."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from api.http.requests import PATH_FIELD, Places
from api.operations.base import AnyOperation, Route
from api.operations.table import OPERATIONS
from tests.api.http.test_app import call
from tests.api.operations.test_table import EXAMPLES
from tests.support.fake_service import ALICE

if TYPE_CHECKING:
    from tests.api.conftest import Hive

TEXTS = [
    "",
    "x",
    "0",
    "-1",
    "1e400",
    "nan",
    "٣",
    "9" * 19,
    "9" * 5000,
    "a/b",
    "..",
    "\0",
    "\x1b[2J",
    "ü✨",
    "true",
    "null",
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    2**64,
    1e308,
    "",
    "x" * 20_000,
    "\0\x1b",
    "٣",
    [],
    [[]],
    {},
    {"a": 1},
]
BODIES = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b'{"a":"\\ud800"}', b'{"a":1,"a":2}', b"[" * 5000]
ROUTES = [
    pytest.param(operation, route, id=f"{route.method} {route.path}")
    for operation in OPERATIONS
    if operation.name in EXAMPLES
    for route in operation.routes
]


def target(operation: AnyOperation, route: Route, odd: dict[str, str]) -> str:
    """The path of a route, with something odd in it."""
    example = {**EXAMPLES[operation.name], **odd}
    return PATH_FIELD.sub(lambda found: quote(str(example[found[1]]), safe=""), route.path)


def requests(operation: AnyOperation, route: Route) -> list[tuple[str, bytes | None]]:
    """Targets and bodies, each with one thing that is odd."""
    places, example = Places(operation.input, route), EXAMPLES[operation.name]
    plain = target(operation, route, {})
    body = {key: example[key] for key in places.body if key in example}
    whole = json.dumps(body).encode() if route.method == "POST" else None
    found = [(target(operation, route, {key: text}), whole) for key in places.path for text in TEXTS]
    found += [(f"{plain}?{key}={quote(text)}", whole) for key in places.query for text in TEXTS]
    if route.method == "POST":
        found += [(plain, odd) for odd in BODIES]
        odd_ones = [{**body, key: value} for key in [*places.body, "unknown"] for value in VALUES]
        found += [(plain, json.dumps(odd).encode()) for odd in odd_ones]
    return found


@pytest.mark.parametrize(("operation", "route"), ROUTES)
async def test_odd_values_are_refused_or_taken_but_never_fail_inside(
    hive: Hive, operation: AnyOperation, route: Route
) -> None:
    hive.fake.add()
    path = hive.layout.http_socket

    def ask_all() -> None:
        for asked, body in requests(operation, route):
            status, kind, value = call(path, route.method, asked, body)
            assert status != 500, (asked, body, value)
            assert (kind == "application/problem+json") == (status >= 400), (asked, body, value)

    await asyncio.to_thread(ask_all)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=["words", "version", "space", "no host", "tls"],
)
@pytest.mark.parametrize("whose", ["operator", "alice"])
async def test_what_is_no_http_is_answered_with_problem_details(hive: Hive, whose: str, request_bytes: bytes) -> None:
    path = hive.layout.http_socket if whose == "operator" else hive.layout.agent_http_socket(ALICE)
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(request_bytes)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == ("urn:hive:bad-input", 400)
    assert problem["hint"]
