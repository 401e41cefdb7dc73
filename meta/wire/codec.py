"""One line of JSON to one value and back, as strict as the Rust daemon's parser (serde_json).

It rejects more than Python's parser: a field twice, half of a surrogate pair, NaN and Infinity, invalid UTF-8, more
than 127 levels. A number is an integer only if it is written as one: neither `1.0` nor `-0` is. Strings never become
numbers, nor numbers booleans. Fields that a type does not have are ignored.

Nearly every line is plain JSON, which Python's parser reads. `meta.wire.serde` reads the few others.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from meta.errors import BadInput
from meta.wire import serde

T = TypeVar("T")

_REASON_LIMIT = 300

MAX_VALUES = 131_072
"""Values of one line or body; a long text is one value."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)', re.DOTALL)
"""A text, or the rest from a quote without an end: otherwise each later quote would be tried, in quadratic time.
The group is not possessive: `re` of Python 3.11.2 (Debian 12) then misses matches."""


def decode(adapter: TypeAdapter[T], line: bytes | str) -> T:
    """Return the value in `line`, with or without its newline, or raise BadInput with the reason."""
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 at byte {error.start}", serde.HINT) from error
    check_values(text)
    try:
        return adapter.validate_python(_parse_plain(text), by_alias=True, by_name=False)
    except (BadInput, ValueError, RecursionError):
        value = serde.read(cast("TypeAdapter[object]", adapter), text)  # wrong, or valid only for serde
    try:
        return adapter.validate_python(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise BadInput(_reason(error), serde.HINT) from error


def check_values(data: bytes | str) -> None:
    """Raise BadInput if JSON has more than about MAX_VALUES values, without parsing it.

    Each takes about 60 bytes of memory, and may be written in three. What stands within texts does not count.
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    if _count(text) > MAX_VALUES and _count(_STRING.sub("", text)) > MAX_VALUES:
        raise BadInput(f"there are more than {MAX_VALUES} values in it", "send less at once")


def _count(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def encode(model: BaseModel) -> bytes:
    """Return `model` as one line of compact JSON without its newline. Characters beyond ASCII are not escaped.

    Raise BadInput for a text that UTF-8 cannot express: half of a surrogate pair, which an undecodable argument
    contains.
    """
    return _constant(type(model)) or _encoded(model)


@cache  # bounded by the number of types
def _constant(kind: type[BaseModel]) -> bytes | None:
    """Return the line of a type whose values are all the same, like `ok`; None for other types."""
    fields = kind.model_fields.values()
    if all(get_origin(each.annotation) is Literal and get_args(each.annotation) == (each.default,) for each in fields):
        return _encoded(kind())
    return None


def _encoded(model: BaseModel) -> bytes:
    try:
        return model.model_dump_json(by_alias=True).encode()
    except PydanticSerializationError as error:
        raise BadInput("half of a surrogate pair in a string", "give text that is valid UTF-8") from error


def _parse_plain(text: str) -> object:
    """Parse `text` if it is plain JSON that every parser reads alike. Raise BadInput otherwise."""
    value: object = _DECODER.decode(text)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    if text.count("[") + text.count("{") > serde.MAX_DEPTH and _depth(value) > serde.MAX_DEPTH:
        raise BadInput(serde.TOO_DEEP, serde.HINT)
    return value


def _depth(value: object) -> int:
    """Return the levels of arrays and objects.

    Count breadth first, because the value may be nested deeper than the stack.
    """
    levels, layer = 0, [value]
    while layer := [item for item in layer if isinstance(item, dict | list)]:
        levels += 1
        layer = [child for item in layer for child in (item.values() if isinstance(item, dict) else item)]
    return levels


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadInput("a key twice in one object", serde.HINT)
    return fields


def _whole(digits: str) -> int | float:
    value = serde.integer(digits)
    return _real(digits) if isinstance(value, float) else value


def _real(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BadInput(f"the number {digits[:40]} is out of range", serde.HINT)
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_whole,
    parse_float=_real,
    parse_constant=serde.no_constant,
    strict=True,
)


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=True)[0]
    return f"{_where(first)}{_explain(first)}"[:_REASON_LIMIT]


def _where(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    return f"{path}: " if path else ""


def _explain(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    tag = str(context.get("discriminator", "")).strip("'")
    if detail["type"] == "union_tag_not_found":
        return f"the field {tag!r} is missing"
    if detail["type"] == "union_tag_invalid":
        return f"unknown {tag} {str(context.get('tag'))[:60]!r}"
    if detail["type"] == "missing":
        return "this field is missing"
    return detail["msg"][:1].lower() + detail["msg"][1:]
