"""Make a dataclass of a parsed JSON object: exact keys, exact types, bounded numbers. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

from meta.errors import BadInput

NUMBER_LIMIT = 2**63
_T = TypeVar("_T")
_KINDS: Mapping[object, type | tuple[type, ...]] = {str: str, int: int, float: (int, float), bool: bool}
"""What JSON has for each type of a field."""

Make = Callable[[Any], object]


def record(cls: type[_T], value: object, **makes: Make) -> _T:
    """Return the `cls` of an object. `makes` has a function for each field that is no text and no number.

    Raise BadInput for an unknown or missing key, a value of another type, and a number without a sensible size.
    """
    name = cls.__name__
    if not isinstance(value, dict):
        raise BadInput(f"{name}: not an object")
    kinds, required = _fields(cls)  # type: ignore[arg-type]
    unknown, missing = value.keys() - kinds.keys(), required - value.keys()
    if unknown or missing:
        raise BadInput(f"{name}: keys {sorted(map(str, unknown))[:3]} are unknown, {sorted(missing)[:3]} are missing")
    made = {}
    for key, item in value.items():
        make = makes.get(key)
        try:
            made[key] = make(item) if make is not None else _plain(item, kinds[key])
        except (BadInput, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{name}.{key}: {str(error)[:200]}") from error
    return cls(**made)


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput("not a list of texts")
    return tuple(value)


def each(make: Callable[[Any], _T]) -> Callable[[object], tuple[_T, ...]]:
    """Return what makes a tuple of a list."""

    def of_list(value: object) -> tuple[_T, ...]:
        if not isinstance(value, list):
            raise BadInput("not a list")
        return tuple(map(make, value))

    return of_list


def by_key(key: Callable[[str], Any], make: Callable[[Any], _T]) -> Callable[[object], dict[Any, _T]]:
    """Return what makes a dictionary of an object."""

    def of_object(value: object) -> dict[Any, _T]:
        if not isinstance(value, dict):
            raise BadInput("not an object")
        return {key(name): make(item) for name, item in value.items()}

    return of_object


def text(value: object) -> str:
    """Return a text."""
    return str(_plain(value, str))


def count(value: object) -> int:
    """Return a whole number, at least 0."""
    return int(_plain(value, int))  # type: ignore[call-overload, no-any-return]


def _plain(value: object, kind: object) -> object:
    types = _KINDS.get(kind)
    if types is None or not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise BadInput(f"not {getattr(kind, '__name__', kind)}")
    least = 0 if kind is int else -NUMBER_LIMIT  # a clock that was set back makes negative seconds
    if isinstance(value, int | float) and not least <= value < NUMBER_LIMIT:
        raise BadInput("not a number of a sensible size")
    return float(value) if kind is float and isinstance(value, int) else value


@lru_cache(maxsize=32)
def _fields(cls: type) -> tuple[Mapping[str, object], frozenset[str]]:
    """Return the type of each field, and the fields without a default."""
    hints = get_type_hints(cls)
    rows = fields(cls)
    required = {row.name for row in rows if row.default is MISSING and row.default_factory is MISSING}
    return {row.name: hints[row.name] for row in rows}, frozenset(required)
