"""Convert the arguments of a model into a wire request. Accept these forms, which models often write:

    "300" or 300.0 for an integer, "true" for a boolean, 12 for a text, "["a"]" or "a" for a list of texts,
    null for an option, the wire's nested object where the schema is flat

The wire's own decoder decides about everything else. No argument can change who calls.
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
    """Return `given` as a `request`. Drop unknown names.

    Raise BadInput, with the arguments that the tool has, if a value does not fit.
    """
    known = {name: value for name, value in given.items() if value is not None}
    try:
        for choice in arguments.choices:
            known = _fold(choice, known)
        fields = {name: _convert(arguments.fields.get(name, {}), value) for name, value in known.items()}
        return decode(_adapter(request), json.dumps({**fields, "cmd": request.model_fields["cmd"].default}))
    except BadInput as error:
        raise BadInput(error.summary, _usage(arguments)) from error
    except RecursionError as error:
        raise BadInput("nested too deeply", _usage(arguments)) from error


def unknown_arguments(arguments: Arguments, given: Mapping[str, Any]) -> list[str]:
    """Return up to five names in `given` that are not arguments, each shortened."""
    known = {*arguments.fields, *(choice.field for choice in arguments.choices)}
    return [name[:_SHOWN] for name in given if name not in known][:5]


@cache
def _adapter(request: type[Wire]) -> TypeAdapter[Wire]:
    return TypeAdapter(request)


def _fold(choice: Choice, given: dict[str, Any]) -> dict[str, Any]:
    """Replace flat fields by the nested object that the wire has. Keep a nested object that was given."""
    if choice.field in given:
        return given
    chosen = [tag for tag, names in choice.variants.items() if all(name in given for name in names)]
    if len(chosen) != 1:
        names = " or ".join(name for fields in choice.variants.values() for name in fields)
        raise BadInput(f"give either {names}, exactly one of them")
    fields = choice.variants[chosen[0]]
    rest = {name: value for name, value in given.items() if name not in fields}
    # The wire checks the fields itself; only whole numbers written as text are converted here.
    return {**rest, choice.field: {choice.tag: chosen[0], **{name: _integer(given[name]) for name in fields}}}


def _convert(schema: Schema, value: object) -> object:
    match schema.get("type"):
        case "integer":
            return _integer(value)
        case "boolean" if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        case "string" if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case "array" if isinstance(value, str):
            return _list(value)
        case _:
            return value


def _integer(value: object) -> object:
    if isinstance(value, str) and (digits := _INTEGER.fullmatch(value)):
        return int(digits[1])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _list(text: str) -> object:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return [text]
    return [text] if text else []


def _usage(arguments: Arguments) -> str:
    return "the arguments are " + ", ".join(_fields(arguments)) if arguments.fields else "there are no arguments"


def _fields(arguments: Arguments) -> Iterator[str]:
    for name, schema in arguments.fields.items():
        kind = " or ".join(map(json.dumps, schema["enum"])) if "enum" in schema else schema.get("type", "any")
        yield f"{name} ({kind})" if name in arguments.required else f"{name} ({kind}, optional)"
