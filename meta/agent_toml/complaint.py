"""Words for what is wrong with a file that people write: the key, the fault, the remedy."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic_core import ErrorDetails

SEE = "see docs/reference/agent-toml.md"
VALUE_LIMIT = 60
"""Characters of a wrong value that are shown."""
_NUMBER_BITS = 256

_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "string_too_short": "must not be empty",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}
Tables = Mapping[tuple[str, ...], type[BaseModel]]
"""The model of each table, by its place; "*" for a name."""


def explain(detail: ErrorDetails, tables: Tables) -> tuple[str, str, str]:
    """Return the key, what is wrong, and what to do."""
    words = _WORDS.get(detail["type"])
    text = (words.format(**detail.get("ctx", {})) if words else detail["msg"]) + _not(detail)
    loc = detail["loc"]
    if len(loc) > 3 and loc[0] == "script" and loc[2] == "crash":
        return _path(loc[:3]), f"must be true or an exit code from 0 to 255{_not(detail)}", SEE
    if detail["type"] != "extra_forbidden":
        return _path(loc), text, SEE
    known = _known(loc, tables)
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    where = f"in [{_path(loc[:-1])}]" if len(loc) > 1 else "at the top"
    return (
        _path(loc),
        f"unknown key{f', did you mean {near[0]!r}?' if near else ''}",
        f"known {where}: {', '.join(known)}",
    )


def _not(detail: ErrorDetails) -> str:
    """Return the given value for the message, or "" if the value does not help."""
    given = detail.get("input")
    if not isinstance(given, str | int | float) or detail["type"] in ("missing", "extra_forbidden", "value_error"):
        return ""
    if isinstance(given, int) and given.bit_length() > _NUMBER_BITS:
        return ", not so large a number"
    shown = json.dumps(given, ensure_ascii=False)
    return f", not {shown if len(shown) <= VALUE_LIMIT else shown[:VALUE_LIMIT] + '...'}"


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _known(loc: tuple[int | str, ...], tables: Tables) -> list[str]:
    place = [part for part in loc[:-1] if isinstance(part, str)]
    if place[:1] == ["mcp_servers"]:
        place = ["mcp_servers", "*"]
    model = tables.get(tuple(place))
    return ["from" if name == "sender" else name for name in model.model_fields] if model else []
