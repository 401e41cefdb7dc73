"""Convert a request over HTTP to the input of its operation, from path, query, headers and body. Strict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import types
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from litestar import Request
from litestar.datastructures import State
from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from api.http.uds import CLIENT
from api.operations.base import In, Input, Operation, Route
from api.sockets.principals import Operator
from meta.errors import BadInput, TransientError
from meta.wire.codec import check_values

HttpRequest = Request[Any, Any, State]
PATH_FIELD = re.compile(r"\{(\w+)\}")
_WHOLE = re.compile(r"-?[0-9]{1,20}")
BODY_DEADLINE = 30.0
"""Seconds that a peer may take to send a request's body."""
_HINT = "see docs/reference/http.md"
_SHOWN = 40
M = TypeVar("M", bound=BaseModel)


def caller(request: HttpRequest) -> Operator:
    """Return the caller. The uid comes from the kernel."""
    client = request.scope.get("client")
    return Operator(client[1] if client is not None and client[0] == CLIENT else None)


class Places:
    """The place of each field of an operation's input on one route, by the name that it has there."""

    def __init__(self, kind: type[BaseModel], route: Route) -> None:
        fields = {field.alias or name: field for name, field in kind.model_fields.items() if name != "cmd"}
        self.path = {name: fields[name] for name in PATH_FIELD.findall(route.path)}
        self.headers = {header: fields[name] for header, name in route.headers.items()}
        taken = {*self.path, *route.headers.values(), *route.fixed}
        rest = {name: field for name, field in fields.items() if name not in taken}
        no_body = route.method != "POST"
        self.query = {name: field for name, field in rest.items() if no_body or name in route.query}
        self.body = {name: field for name, field in rest.items() if name not in self.query}


class Reader(Generic[In]):
    """Reads requests of one route."""

    def __init__(self, operation: Operation[In, Any], route: Route) -> None:
        self._kind = operation.input
        self._route = route
        self._places = Places(operation.input, route)

    @cached_property
    def _body(self) -> type[Input]:
        """Return the model of the body. It is built at the first body, so that the daemon starts faster."""
        made: type[Input] = create_model(
            f"{self._kind.__name__}Body",
            __base__=Input,
            **{name: (field.annotation, field) for name, field in self._places.body.items()},  # type: ignore[call-overload]
        )
        return made

    async def read(self, request: HttpRequest) -> In:
        """Return the input. Raise BadInput with the wrong key."""
        self._check_query(request)
        given: dict[str, object] = dict(self._route.fixed)
        texts: dict[str, str] = {}
        for key, field in self._places.path.items():
            texts[key] = str(request.path_params[key])
            given[key] = value_of(key, texts[key], field)
        for key, field in self._places.query.items():
            if text := request.query_params.get(key):
                texts[key], given[key] = text, value_of(key, text, field)
        for header, name in self._route.headers.items():
            if text := request.headers.get(header):
                texts[name] = given[name] = text
        if self._route.method == "POST":
            given |= await self._from_body(request)
        try:
            return self._kind.model_validate(given)
        except ValidationError as error:
            raise _fault(error, texts, given) from error

    def _check_query(self, request: HttpRequest) -> None:
        """Reject a key that is unknown or comes twice: it is probably a mistake."""
        keys = [key for key, _ in request.query_params.multi_items()]
        known = self._places.query
        for key in keys:
            if key not in known:
                hint = f"keys of this query: {', '.join(known) or 'none'}"
                raise BadInput(f"{key[:_SHOWN]!r} is not a key of the query", hint)
            if keys.count(key) > 1:
                raise BadInput(f"{key} is in the query twice", _HINT)

    async def _from_body(self, request: HttpRequest) -> dict[str, object]:
        """Return the fields of the body. An empty body is an empty object."""
        text = await read_body(request, self._route.limit)
        check_values(text)
        _check_keys(text)
        try:
            asked = self._body.model_validate_json(text or b"{}")
        except ValidationError as error:
            raise _fault(error, {}, self._places.body) from error
        return {key: getattr(asked, key) for key in asked.model_fields_set}


async def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return a request's body of at most `limit` bytes. Raise BadInput, or TransientError if it comes too slowly."""
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            text = await request.body()
    except TimeoutError:
        raise TransientError(f"the body was not sent within {BODY_DEADLINE:g} s", "send it faster") from None
    if len(text) > limit:
        raise BadInput(f"the body is longer than {limit} bytes", "send less in one request")
    return text


def _check_keys(text: bytes) -> None:
    """Reject an object with the same key twice: JSON parsers do not agree on which one counts."""
    if text.count(b'"') < 4:
        return
    with contextlib.suppress(ValueError, RecursionError):  # not JSON: pydantic reports that next
        json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, object]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) == len(keys):
        return
    twice = next(key for key in keys if keys.count(key) > 1)
    raise BadInput(f"{twice[:_SHOWN]!r} is in the body twice", "give each key once")


def _fault(error: ValidationError, texts: Mapping[str, str], known: Iterable[str]) -> BadInput:
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    if path in texts:
        return BadInput(f"{path}={texts[path][:_SHOWN]!r}: {first['msg']}", _HINT)
    return BadInput(
        f"{path[:_SHOWN] or 'the body'}: {first['msg']}", f"keys of this request: {', '.join(known) or 'none'}"
    )


def value_of(key: str, text: str, field: FieldInfo) -> object:
    """Convert a text from a path, a query or a header to the type of its field. Bounds are checked later."""
    kind = plain(field.annotation)
    shown = f"{key}={text[:_SHOWN]!r}"
    if kind is bool:
        if text not in ("0", "1"):
            raise BadInput(f"{shown} is neither 0 nor 1", _HINT)
        return text == "1"
    if kind is int:
        if not _WHOLE.fullmatch(text):
            raise BadInput(f"{shown} is not a whole number", _HINT)
        return int(text)
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise BadInput(f"{shown} is not a number", _HINT) from None
    return text


def plain(annotation: object) -> object:
    """Return the type without NewType, Annotated and `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (part for part in get_args(annotation) if part is not type(None))
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation
