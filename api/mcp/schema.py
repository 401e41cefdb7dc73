"""The arguments of a tool as a flat JSON schema, which models fill in correctly, made from the tool's wire type.

The schema has no `$ref`, no title, and no bound beyond what JSON numbers can hold. It has no null beside a type: an
optional argument is absent instead. A field that is one of several objects (`timing`) is replaced by the fields of all
of them; the model gives the fields of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meta.wire.common import Wire

Schema = dict[str, Any]
EXACT = 2**53
"""Many JSON readers cannot represent larger integers exactly, so larger bounds are left out."""
_DROPPED = frozenset({"title", "default", "discriminator"})


@dataclass(frozen=True, slots=True)
class Choice:
    """A field of the wire that is one of several objects. `variants` maps each object's tag to its field names."""

    field: str
    tag: str
    variants: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a tool. `schema` is for the model; `choices` are needed to restore the wire's fields."""

    schema: Schema
    choices: tuple[Choice, ...]

    @property
    def fields(self) -> Mapping[str, Schema]:
        """The schema of each argument."""
        properties: Mapping[str, Schema] = self.schema["properties"]
        return properties

    @property
    def required(self) -> frozenset[str]:
        """The arguments that are required."""
        return frozenset(self.schema.get("required", ()))


def arguments_of(request: type[Wire]) -> Arguments:
    """Return the arguments for `request`. `cmd` is the name of the tool, so it is not an argument."""
    whole = request.model_json_schema(mode="validation", by_alias=True)
    parts: Mapping[str, Schema] = whole.get("$defs", {})
    required = list(whole.get("required", ()))
    properties: dict[str, Schema] = {}
    choices = []
    for name, given in whole["properties"].items():
        if name == "cmd":
            continue
        if "oneOf" in given:
            choice, fields = _flatten(name, given, parts)
            choices.append(choice)
            properties |= fields
            required.remove(name)
        else:
            properties[name] = _plain(given, parts)
    schema: Schema = {"type": "object", "properties": properties}
    return Arguments({**schema, "required": required} if required else schema, tuple(choices))


def _flatten(name: str, given: Schema, parts: Mapping[str, Schema]) -> tuple[Choice, dict[str, Schema]]:
    tag: str = given["discriminator"]["propertyName"]
    variants: dict[str, tuple[str, ...]] = {}
    fields: dict[str, Schema] = {}
    for option in given["oneOf"]:
        part = _resolve(option, parts)
        own = {key: _plain(value, parts) for key, value in part["properties"].items() if key != tag}
        variants[part["properties"][tag]["const"]] = tuple(own)
        fields |= own
    for key, schema in fields.items():
        others = " or ".join(f"`{other}`" for other in fields if other != key)
        schema["description"] = f"{schema['description']}; give either this or {others}"
    return Choice(name, tag, variants), fields


def _plain(given: Schema, parts: Mapping[str, Schema]) -> Schema:
    """Return a field without references and nulls. The field's own keys override those of its type."""
    inner: Schema = {}
    for option in given.get("anyOf", ()):
        if option.get("type") != "null":
            inner = _resolve(option, parts)
    if "$ref" in given:
        inner = _resolve(given, parts)
    own = {key: value for key, value in given.items() if key not in ("anyOf", "$ref")}
    return {
        key: value for key, value in {**inner, **own}.items() if key not in _DROPPED and not _is_inexact(key, value)
    }


def _resolve(given: Schema, parts: Mapping[str, Schema]) -> Schema:
    return parts[given["$ref"].rpartition("/")[2]] if "$ref" in given else given


def _is_inexact(key: str, value: object) -> bool:
    return key in ("minimum", "maximum") and isinstance(value, int) and abs(value) > EXACT
