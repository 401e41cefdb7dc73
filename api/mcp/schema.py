"""The arguments of a tool as a JSON schema that models fill in right: those of its wire type, made flat.

No `$ref`, no null beside a type (an option is left out instead), no title, no bound beyond what JSON numbers can hold.
A field that is one of several objects (`timing`) gives way to the fields of those objects, of which one is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meta.wire.common import Wire

Schema = dict[str, Any]
EXACT = 2**53
"""Integers beyond this have no exact place in many JSON readers: such a bound says nothing."""
_DROPPED = frozenset({"title", "default", "discriminator"})


@dataclass(frozen=True, slots=True)
class Choice:
    """A field of the wire that is one of several objects. `variants`: tag to the names of the fields that it brings."""

    field: str
    tag: str
    variants: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a tool takes. `schema` is for the model; `choices` say how flat arguments become the wire's again."""

    schema: Schema
    choices: tuple[Choice, ...]

    @property
    def fields(self) -> Mapping[str, Schema]:
        """The schema of each argument."""
        found: Mapping[str, Schema] = self.schema["properties"]
        return found

    @property
    def required(self) -> frozenset[str]:
        """The arguments that cannot be left out."""
        return frozenset(self.schema.get("required", ()))


def arguments_of(request: type[Wire]) -> Arguments:
    """The arguments that stand for `request`; `cmd` is the tool's name and no argument."""
    whole = request.model_json_schema(mode="validation", by_alias=True)
    parts: Mapping[str, Schema] = whole.get("$defs", {})
    required = list(whole.get("required", ()))
    properties: dict[str, Schema] = {}
    choices = []
    for name, given in whole["properties"].items():
        if name == "cmd":
            continue
        if "oneOf" in given:
            choice, fields = _spread(name, given, parts)
            choices.append(choice)
            properties |= fields
            required.remove(name)
        else:
            properties[name] = _plain(given, parts)
    schema: Schema = {"type": "object", "properties": properties}
    return Arguments({**schema, "required": required} if required else schema, tuple(choices))


def _spread(name: str, given: Schema, parts: Mapping[str, Schema]) -> tuple[Choice, dict[str, Schema]]:
    tag: str = given["discriminator"]["propertyName"]
    variants: dict[str, tuple[str, ...]] = {}
    fields: dict[str, Schema] = {}
    for option in given["oneOf"]:
        part = _resolved(option, parts)
        own = {key: _plain(value, parts) for key, value in part["properties"].items() if key != tag}
        variants[part["properties"][tag]["const"]] = tuple(own)
        fields |= own
    for key, schema in fields.items():
        others = " or ".join(f"`{other}`" for other in fields if other != key)
        schema["description"] = f"{schema['description']}; give either this or {others}"
    return Choice(name, tag, variants), fields


def _plain(given: Schema, parts: Mapping[str, Schema]) -> Schema:
    """One field without references and nulls; what is said of the field itself wins."""
    inner: Schema = {}
    for option in given.get("anyOf", ()):
        if option.get("type") != "null":
            inner = _resolved(option, parts)
    if "$ref" in given:
        inner = _resolved(given, parts)
    own = {key: value for key, value in given.items() if key not in ("anyOf", "$ref")}
    return {key: value for key, value in {**inner, **own}.items() if key not in _DROPPED and not _endless(key, value)}


def _resolved(given: Schema, parts: Mapping[str, Schema]) -> Schema:
    return parts[given["$ref"].rpartition("/")[2]] if "$ref" in given else given


def _endless(key: str, value: object) -> bool:
    return key in ("minimum", "maximum") and isinstance(value, int) and abs(value) > EXACT
