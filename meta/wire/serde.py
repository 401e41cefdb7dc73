"""Read JSON as serde does for the Rust types, if that differs from plain JSON.

`read` returns the tree that pydantic then validates: known fields only, by name. The rules below were observed on the
seeds' own types:

- A known field must not come twice; an unknown field is ignored however often it comes.
- An object may be written as the array of its fields in order; trailing fields with a default may be left out.
- A word of an enum may be written as an object with that one key and `null`.
- An enum with its tag inside is *buffered*: every number, string and depth in it must be valid, also in fields that are
  ignored. Elsewhere ignored fields are only skipped. In a buffered value the tag may be the variant's index.
- An enum with the two fields tag and content reads the content at once if the tag comes first, else it buffers it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Protocol, cast

from pydantic import TypeAdapter

from meta.errors import BadInput
from meta.wire.common import Adjacent, Body, Lone

MAX_DEPTH = 127
"""Levels of arrays and objects."""
HINT = "send one JSON object per line, as docs/reference/wire.md has them"
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_INT_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Pairs:
    """A JSON object as it was written, with keys that come twice."""

    items: tuple[tuple[str, object], ...]


def read(adapter: TypeAdapter[object], text: str) -> object:
    """Return the tree for `adapter` to validate. Raise BadInput if serde would reject `text` for every type."""
    return _shape_of(adapter).read(parse(text), buffered=False, depth=0)


def parse(text: str) -> object:
    """Parse `text`: objects as Pairs, a number out of range as an infinity. Raise BadInput if it is not JSON."""
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error.msg} at column {error.pos + 1}", HINT) from error
    except RecursionError as error:
        raise BadInput(TOO_DEEP, HINT) from error
    return value


def integer(digits: str) -> int | float:
    """Return a whole number. One that is out of every range, and `-0`, is a float, as in serde."""
    return float(digits) if digits == "-0" or len(digits) > _INT_DIGITS else int(digits)


def no_constant(name: str) -> NoReturn:
    """Reject NaN and Infinity, which Python would accept."""
    raise BadInput(f"{name} is not JSON", HINT)


_DECODER = json.JSONDecoder(
    object_pairs_hook=lambda pairs: Pairs(tuple(pairs)), parse_int=integer, parse_constant=no_constant, strict=True
)


class Shape(Protocol):
    """The type of a value."""

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        """Return `value` in the form that pydantic validates. `value` is inside `depth` arrays and objects."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """A number, a boolean or a text, which pydantic checks."""

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if isinstance(value, Pairs | list):
            return {}  # wrong in every case
        _check_scalar(value)
        return value


@dataclass(frozen=True, slots=True)
class _Any:
    """Any JSON. The last value of a key that comes twice counts."""

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if not buffered:
            _check(value, depth)
        return _undoubled(value)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word, or an object with that one key and null."""

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if not isinstance(value, Pairs):
            return _Plain().read(value, buffered=buffered, depth=depth)
        _enter(depth, buffered)
        nothing = (None, Pairs(())) if buffered else (None,)
        if len(value.items) != 1 or value.items[0][1] not in nothing:
            raise BadInput("an object in place of a word must have that one key, and null", HINT)
        _check_scalar(value.items[0][0])
        return value.items[0][0]


@dataclass(frozen=True, slots=True)
class _Option:
    inner: Shape

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        return None if value is None else self.inner.read(value, buffered=buffered, depth=depth)


@dataclass(frozen=True, slots=True)
class _Many:
    inner: Shape

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if not isinstance(value, list):
            return _Plain().read(value, buffered=buffered, depth=depth)
        _enter(depth, buffered)
        return [self.inner.read(item, buffered=buffered, depth=depth + 1) for item in value]


@dataclass(frozen=True, slots=True)
class _Struct:
    """Named fields; those in `defaulted` may be missing. The body of an adjacent variant is never an array."""

    fields: Mapping[str, Shape]
    defaulted: frozenset[str]
    only_named: bool = False

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if isinstance(value, list):
            _enter(depth, buffered)
            return self._in_order(value, buffered=buffered, depth=depth)
        if not isinstance(value, Pairs):
            return value
        _enter(depth, buffered)
        fields: dict[str, object] = {}
        for key, item in value.items:
            _check_scalar(key)
            if key in fields:
                raise _twice(key)
            if key in self.fields:
                fields[key] = self.fields[key].read(item, buffered=buffered, depth=depth + 1)
        return fields

    def _in_order(self, values: list[object], *, buffered: bool, depth: int) -> object:
        if self.only_named:
            raise BadInput("an array in place of an object", HINT)
        if len(values) > len(self.fields):
            raise BadInput(f"an array of {len(values)}, where there are {len(self.fields)} fields", HINT)
        missing = [name for name in list(self.fields)[len(values) :] if name not in self.defaulted]
        if missing:
            raise BadInput(f"an array without the field {missing[0]!r}", HINT)
        pairs = zip(self.fields.items(), values, strict=False)
        return {name: shape.read(item, buffered=buffered, depth=depth + 1) for (name, shape), item in pairs}


@dataclass(frozen=True, slots=True)
class _Tagged:
    """An enum with the tag among the other fields."""

    tag: str
    variants: Mapping[str, Shape]

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if not isinstance(value, Pairs | list):
            return value
        if not buffered:
            _check(value, depth)
        rest: list[object] | Pairs
        if isinstance(value, list):
            tags, rest = value[:1], value[1:]
        else:
            tags = [item for key, item in value.items if key == self.tag]
            rest = Pairs(tuple(pair for pair in value.items if pair[0] != self.tag))
        if len(tags) > 1:
            raise _twice(self.tag)
        if not tags:
            return {}
        name = self._name(tags[0], indexed=buffered)
        if name not in self.variants:
            return {self.tag: name}
        fields = self.variants[name].read(rest, buffered=True, depth=depth)
        return {self.tag: name, **cast("dict[str, object]", fields)}

    def _name(self, tag: object, *, indexed: bool) -> str:
        if isinstance(tag, str):
            return tag
        if indexed and isinstance(tag, int) and not isinstance(tag, bool) and 0 <= tag < len(self.variants):
            return list(self.variants)[tag]
        raise BadInput(f"no object whose field {self.tag!r} is a word", HINT)


@dataclass(frozen=True, slots=True)
class _Side:
    """An enum with the two fields tag and content. A variant without content has None."""

    tag: str
    content: str
    variants: Mapping[str, Shape | None]

    def read(self, value: object, *, buffered: bool, depth: int) -> object:
        if isinstance(value, list):
            if len(value) != 2:
                raise BadInput(f"an array that is not {self.tag} and {self.content}", HINT)
            value = Pairs(((self.tag, value[0]), (self.content, value[1])))
        if not isinstance(value, Pairs):
            return value
        _enter(depth, buffered)
        fields: dict[str, object] = {}
        for key, item in value.items:
            _check_scalar(key)
            if key in fields:
                raise _twice(key)
            if key in (self.tag, self.content):
                fields[key] = item
        name = fields.get(self.tag)
        if not isinstance(name, str):
            return {self.tag: name} if self.tag in fields else {}
        if name not in self.variants or self.content not in fields:
            return {self.tag: name}
        late = next(iter(fields)) == self.content
        return {self.tag: name, self.content: self._content(name, fields[self.content], late, depth + 1)}

    def _content(self, name: str, item: object, late: bool, depth: int) -> object:
        if late:
            _check(item, depth)
        return (self.variants[name] or _Plain()).read(item, buffered=late, depth=depth)


# checks of every value that is read
def _enter(depth: int, buffered: bool) -> None:
    if not buffered and depth >= MAX_DEPTH:
        raise BadInput(TOO_DEEP, HINT)


def _twice(key: str) -> BadInput:
    return BadInput(f"duplicate field {key[:60]!r}", HINT)


def _check_scalar(value: object) -> None:
    if isinstance(value, float) and math.isinf(value):
        raise BadInput("a number is out of range", HINT)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadInput("half of a surrogate pair in a string", HINT) from error


def _check(value: object, depth: int) -> None:
    """Check everything in `value`, layer by layer, because it may be nested deeper than the stack."""
    layer = [value]
    while layer:
        below: list[object] = []
        for item in layer:
            if isinstance(item, Pairs | list) and depth >= MAX_DEPTH:
                raise BadInput(TOO_DEEP, HINT)
            if isinstance(item, Pairs):
                below += [part for pair in item.items for part in pair]
            elif isinstance(item, list):
                below += item
            else:
                _check_scalar(item)
        layer, depth = below, depth + 1


def _undoubled(value: object) -> object:
    if isinstance(value, Pairs):
        return {key: _undoubled(item) for key, item in value.items}
    return [_undoubled(item) for item in value] if isinstance(value, list) else value


# from the schema of pydantic to a shape
Schema = Mapping[str, object]


@lru_cache(maxsize=256)
def _shape_of(adapter: TypeAdapter[object]) -> Shape:
    return _shape(cast(Schema, adapter.core_schema))


def _shape(schema: Schema) -> Shape:
    match schema["type"]:
        case "tagged-union":
            return _union(schema)
        case "model":
            return _lone(schema) if issubclass(cast(type, schema["cls"]), Lone) else _struct(schema)
        case "nullable":
            return _Option(_shape(_under(schema)))
        case "default":
            return _shape(_under(schema))
        case "tuple":
            (items,) = cast("list[Schema]", schema["items_schema"])
            return _Many(_shape(items))
        case "enum":
            return _Word()
        case "function-before":
            return _Any()
        case "str" | "int" | "bool" | "literal" | "none":
            return _Plain()
        case other:
            raise TypeError(f"no wire type has a {other}")


def _under(schema: Schema) -> Schema:
    return cast(Schema, schema["schema"])


def _fields(model: Schema) -> dict[str, Schema]:
    """Return the schemas by their names on the wire, in the order of the class."""
    schemas = cast("Mapping[str, Schema]", _under(model)["fields"])
    order = list(cast("type[Body]", model["cls"]).model_fields)
    return {str(schemas[name].get("validation_alias", name)): _under(schemas[name]) for name in order}


def _struct(model: Schema, without: str = "") -> _Struct:
    fields = {name: schema for name, schema in _fields(model).items() if name != without}
    defaulted = frozenset(name for name, schema in fields.items() if schema["type"] == "default")
    only_named = issubclass(cast(type, model["cls"]), Body)
    return _Struct({name: _shape(schema) for name, schema in fields.items()}, defaulted, only_named)


def _lone(model: Schema) -> _Tagged:
    tag = cast("type[Lone]", model["cls"]).tag
    (word,) = cast("list[str]", _fields(model)[tag]["expected"])
    return _Tagged(tag, {word: _struct(model, without=tag)})


def _union(schema: Schema) -> Shape:
    tag = cast(str, schema["discriminator"])
    choices = cast("Mapping[str, Schema]", schema["choices"])
    first = cast(type, next(iter(choices.values()))["cls"])
    if not issubclass(first, Adjacent):
        return _Tagged(tag, {name: _struct(model, without=tag) for name, model in choices.items()})
    content = first.content
    bodies = {name: _fields(model).get(content) for name, model in choices.items()}
    shapes = {
        name: None if body is None or body["type"] == "default" else _shape(body) for name, body in bodies.items()
    }
    return _Side(tag, content, shapes)
