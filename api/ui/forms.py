"""Forms and queries of pages: from text to the input of an operation. Strict, as the API is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

from pydantic import ValidationError

from api.http.requests import value_of
from api.operations.base import Input
from meta.errors import BadInput

FORM_BYTES = 4 * 2**20
"""The largest form: a message of 1 MiB is up to three times as long in a form."""
FIELDS = 2_000
OWN = frozenset({"csrf", "seen", "once"})
"""Fields that are the pages' own, and of no input."""

In = TypeVar("In", bound=Input)


def read_form(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form. Raise BadInput. Call it in a thread: for a long one it takes seconds."""
    if len(body) > FORM_BYTES:
        raise BadInput(f"the form is longer than {FORM_BYTES} bytes", "send less at once")
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise BadInput("the form cannot be read", "load the page again") from error


def input_from(kind: type[In], path: Mapping[str, str], fields: Iterable[tuple[str, str]]) -> In:
    """Return the input of texts. A field that is empty and not required is left out. Raise BadInput with the wrong key.

    A field of a tuple may come several times, and line ends are those of Unix.
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
            given[key] = value_of(key, clean, known[key])
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(f"{'.'.join(map(str, first['loc']))[:60]}: {first['msg']}") from error


def _is_many(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_many, get_args(annotation)))
    return get_origin(annotation) is tuple
