"""What a model gave as arguments, as a request of the wire. Lenient where models err and the meaning is plain:

    "300" or 300.0 for an integer, "true" for a boolean, 12 for a text, "[\"a\"]" or "a" for a list of texts,
    null for an option, the wire's nested object where the schema is flat

Beyond that the wire's own decoder decides. Who calls is never taken from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from api.mcp.schema import Arguments, Choice, Schema
from meta.errors import BadInput
from meta.wire.codec import decode
from meta.wire.common import Wire

_INTEGER = re.compile(r"\s*(-?[0-9]{1,20})\s*")
_SHOWN = 40


def request_from(request: type[Wire], arguments: Arguments, given: Mapping[str, Any]) -> Wire:
    """`given` as a `request`; unknown names are passed over. BadInput says what is wrong and what would fit."""
    known = {name: value for name, value in given.items() if value is not None}
    try:
        for choice in arguments.choices:
            known = _folded(choice, known)
        fields = {name: _lenient(arguments.fields.get(name, {}), value) for name, value in known.items()}
        return decode(_adapter(request), json.dumps({**fields, "cmd": request.model_fields["cmd"].default}))
    except BadInput as error:
        raise BadInput(error.summary, _usage(arguments)) from error
    except RecursionError as error:
        raise BadInput("nested too deeply", _usage(arguments)) from error


def passed_over(arguments: Arguments, given: Mapping[str, Any]) -> list[str]:
    """The names among `given` that are no arguments, cut to what can be shown."""
    known = {*arguments.fields, *(choice.field for choice in arguments.choices)}
    return [name[:_SHOWN] for name in given if name not in known][:5]


@cache
def _adapter(request: type[Wire]) -> TypeAdapter[Wire]:
    return TypeAdapter(request)


def _folded(choice: Choice, given: dict[str, Any]) -> dict[str, Any]:
    """Flat fields as the nested object that the wire has; an object that is there already stays."""
    if choice.field in given:
        return given
    chosen = [tag for tag, names in choice.variants.items() if all(name in given for name in names)]
    if len(chosen) != 1:
        names = " or ".join(name for fields in choice.variants.values() for name in fields)
        raise BadInput(f"give either {names}, one of them")
    fields = choice.variants[chosen[0]]
    rest = {name: value for name, value in given.items() if name not in fields}
    # The wire's own checks see the fields; only whole numbers written as text are mended here.
    return {**rest, choice.field: {choice.tag: chosen[0], **{name: _whole(given[name]) for name in fields}}}


def _lenient(schema: Schema, value: object) -> object:
    match schema.get("type"):
        case "integer":
            return _whole(value)
        case "boolean" if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        case "string" if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case "array" if isinstance(value, str):
            return _listed(value)
        case _:
            return value


def _whole(value: object) -> object:
    if isinstance(value, str) and (digits := _INTEGER.fullmatch(value)):
        return int(digits[1])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _listed(text: str) -> object:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return [text]
    return [text] if text else []


def _usage(arguments: Arguments) -> str:
    return "the arguments are " + ", ".join(_named(arguments)) if arguments.fields else "there are no arguments"


def _named(arguments: Arguments) -> Iterator[str]:
    for name, schema in arguments.fields.items():
        kind = " or ".join(map(json.dumps, schema["enum"])) if "enum" in schema else schema.get("type", "any")
        yield f"{name} ({kind})" if name in arguments.required else f"{name} ({kind}, may be left out)"
