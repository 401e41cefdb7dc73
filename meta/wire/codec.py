"""One line of JSON to one value and back, as strict as the Rust daemon's parser (serde_json).

Refused beyond what Python's own parser refuses: a key twice in one object, half of a surrogate pair, NaN and Infinity,
invalid UTF-8, more than 127 levels. A number is an integer only when it is written as one: neither `1.0` nor `-0` is.
Strings are never turned into numbers nor numbers into booleans. Fields that a type does not have are passed over.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from meta.errors import BadInput

T = TypeVar("T")

MAX_DEPTH = 127
"""Levels of arrays and objects; the 128th is refused."""

_HINT = "send one JSON object per line, as docs/reference/wire.md has them"
_REASON_LIMIT = 300
_INT_DIGITS = 20


def decode(adapter: TypeAdapter[T], line: bytes | str) -> T:
    """The value that `line` (with or without its newline) holds, or BadInput with the reason."""
    value = _parse(line)
    try:
        return adapter.validate_python(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise BadInput(_reason(error), _HINT) from error


def encode(model: BaseModel) -> bytes:
    """`model` as one line of compact JSON without its newline; characters beyond ASCII are kept as they are.

    BadInput for text that UTF-8 cannot express (half of a surrogate pair, as an undecodable argument has them).
    """
    try:
        return model.model_dump_json(by_alias=True).encode()
    except PydanticSerializationError as error:
        raise BadInput("half of a surrogate pair in a string", "give text that is valid UTF-8") from error


def _parse(line: bytes | str) -> object:
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        value: object = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 at byte {error.start}", _HINT) from error
    except UnicodeEncodeError as error:
        raise BadInput("half of a surrogate pair in a string", _HINT) from error
    except json.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error.msg} at column {error.pos + 1}", _HINT) from error
    except RecursionError as error:
        raise BadInput(_TOO_DEEP, _HINT) from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise BadInput(_TOO_DEEP, _HINT)
    return value


_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


def _depth(value: object) -> int:
    """Levels of arrays and objects. Breadth first: the value may be deeper than the stack."""
    levels, layer = 0, [value]
    while layer := [item for item in layer if isinstance(item, dict | list)]:
        levels += 1
        layer = [child for item in layer for child in (item.values() if isinstance(item, dict) else item)]
    return levels


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadInput(f"duplicate field {_twice(pairs)[:60]!r}", _HINT)
    return found


def _twice(pairs: list[tuple[str, object]]) -> str:
    """The first key that was there before. One pass: an agent chooses how many keys a line has."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("only called when a key is there twice")


def _integer(digits: str) -> int | float:
    return float(digits) if digits == "-0" or len(digits) > _INT_DIGITS else int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BadInput(f"the number {digits[:40]} is out of range", _HINT)
    return value


def _constant(name: str) -> NoReturn:
    raise BadInput(f"{name} is not JSON", _HINT)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant, strict=True
)


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=True)[0]
    return f"{_where(first)}{_said(first)}"[:_REASON_LIMIT]


def _where(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    return f"{path}: " if path else ""


def _said(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    tag = str(context.get("discriminator", "")).strip("'")
    if detail["type"] == "union_tag_not_found":
        return f"the field {tag!r} is missing"
    if detail["type"] == "union_tag_invalid":
        return f"unknown {tag} {str(context.get('tag'))[:60]!r}"
    if detail["type"] == "missing":
        return "this field is missing"
    return detail["msg"][:1].lower() + detail["msg"][1:]
