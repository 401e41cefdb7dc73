"""Forms and queries of pages: from text to the input of an operation. Strict, as the API is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from api.http.requests import value_of
from api.operations.base import Input
from api.ui.access.body import BODY_LIMIT, FIELDS
from meta.errors import BadInput, NotFound
from meta.text import one_line

OWN = frozenset({"csrf", "seen", "once"})
"""Fields that are the pages' own, and of no input."""

_ELSE = "the navigation has all pages"

In = TypeVar("In", bound=Input)


def read_form(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form. Raise BadInput. Call it in a thread: for a long one it takes seconds."""
    if len(body) > BODY_LIMIT:
        raise BadInput(f"the form is longer than {BODY_LIMIT} bytes", "send less at once")
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise BadInput("the form cannot be read", "load the page again") from error


def asked_of(kind: type[In], path: Mapping[str, str], fields: Iterable[tuple[str, str]]) -> In:
    """Return the input of an address. A word of its query that no page knows is left out, as on other sites.

    Raise NotFound if its path can be of no page, else BadInput.
    """
    known = {field.alias or name for name, field in kind.model_fields.items()}
    return input_from(kind, path, [(key, text) for key, text in fields if key in known])


def input_from(kind: type[In], path: Mapping[str, str], fields: Iterable[tuple[str, str]]) -> In:
    """Return the input of texts. A field that is empty and not required is left out. Raise BadInput with the wrong key.

    A field of a tuple may come several times, and line ends are those of Unix. Raise NotFound for a wrong path.
    """
    known = {field.alias or name: field for name, field in kind.model_fields.items()}
    given: dict[str, object] = {}
    for key, text in (*path.items(), *fields):
        if key in OWN and key not in known:
            continue
        if key not in known:
            raise BadInput(f"{key[:40]!r} is not a field of this form", "load the page again")
        clean = text.replace("\r\n", "\n")
        if _is_many(known[key].annotation):
            many = given.setdefault(key, ())
            given[key] = (*many, clean) if isinstance(many, tuple) else (clean,)
        elif key in given:
            raise BadInput(f"{key} is in the form twice", "load the page again")
        elif clean or known[key].is_required():
            given[key] = _value(key, clean, known[key], key in path)
    try:
        return kind.model_validate(given)
    except (BadInput, ValidationError) as error:
        if any(_is_wrong(known[key], given[key]) for key in path):
            raise NotFound("there is no such page", _ELSE) from error
        raise _wrong(error) if isinstance(error, ValidationError) else error from None


def _is_wrong(field: FieldInfo, value: object) -> bool:
    """Return True if a field refuses a value."""
    try:
        judged: Any = Annotated[field.annotation, field]
        TypeAdapter(judged).validate_python(value)
    except (BadInput, ValidationError):
        return True
    return False


def _value(key: str, text: str, field: FieldInfo, of_path: bool) -> object:
    try:
        return value_of(key, text, field)
    except BadInput as error:
        if of_path:
            raise NotFound("there is no such page", _ELSE) from error
        raise BadInput(
            f"{key} cannot be {one_line(text, 40)!r}", "load the page again, and choose what it offers"
        ) from error


def _wrong(error: ValidationError) -> BadInput:
    """Return the error of an input, in words of a page."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))[:60]
    if first["type"] in ("literal_error", "enum"):
        return BadInput(f"{key} cannot be {one_line(str(first['input']), 40)!r}", "choose what the page offers")
    return BadInput(f"{key}: {first['msg']}")


def _is_many(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_many, get_args(annotation)))
    return get_origin(annotation) is tuple
