"""Values of a parsed TOML table, each with an error that names its key. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from meta.errors import BadInput

_SHOWN = 80
_T = TypeVar("_T")

Table = Mapping[str, Any]


def key_at(where: str, key: str) -> str:
    """Return the dotted key of an error."""
    return f"{where}.{key[:_SHOWN]}" if where else key[:_SHOWN]


def require_known(table: Table, keys: Iterable[str], where: str) -> None:
    """Raise BadInput for a key that is none of `keys`."""
    for key in table:
        if key not in keys:
            raise BadInput(f"{key_at(where, key)}: unknown key; there are {', '.join(keys)}")


def table_at(table: Table, key: str, where: str = "") -> Table:
    """Return a table, empty if there is none."""
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise BadInput(f"{key_at(where, key)}: must be a table")
    return value


def texts_at(table: Table, key: str, where: str = "") -> list[str]:
    """Return a list of texts, empty if there is none."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadInput(f"{key_at(where, key)}: must be a list of texts")
    return [str(entry) for entry in value]


def text_at(table: Table, key: str, default: str, where: str = "") -> str:
    """Return a text."""
    value = table.get(key, default)
    if not isinstance(value, str):
        raise BadInput(f"{key_at(where, key)}: must be text")
    return value


def number_at(table: Table, key: str, where: str, least: int, most: int) -> int | None:
    """Return a whole number, None if there is none."""
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"{key_at(where, key)}: must be a whole number from {least} to {most}")
    return value


def named(where: str, make: Callable[[str], _T], text: str) -> _T:
    """Return what `make` makes of a text. An error names the key."""
    try:
        return make(text)
    except BadInput as error:
        raise BadInput(f"{where}: {error.summary}", error.hint) from error
