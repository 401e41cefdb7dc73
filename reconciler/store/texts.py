"""Texts of rows that may be damaged. They are selected as bytes, so that one bad row does not hide the others."""

from __future__ import annotations

import json
import logging

logger = logging.getLogger(__name__)

CUT = "…"
"""The end of a text that was cut."""
ALARM = "[hive: this row of the database is damaged]"
"""The beginning of a text that could not be read completely."""


def text(value: object, what: str) -> str:
    """Decode a column that was selected as `CAST(... AS BLOB)`. Bytes that are not UTF-8 are marked with ALARM."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            logger.error("%s is not valid text", what)
            return f"{ALARM} {value.decode(errors='replace')}"
    logger.error("%s is not a text", what)
    return f"{ALARM} {value!r}"


def beginning(value: object, whole: bool, what: str) -> str:
    """Decode as `text` does. A text that is not `whole` ends with CUT, which also replaces half a character."""
    if isinstance(value, bytes) and not whole:
        for _ in range(3):
            if value and value[-1] & 0xC0 == 0x80:
                value = value[:-1]
        if value and value[-1] >= 0xC0:
            value = value[:-1]
    return text(value, what) + ("" if whole else CUT)


def texts(value: object, what: str) -> tuple[str, ...]:
    """Decode a JSON array of texts. Anything else becomes the only item, marked with ALARM."""
    raw = text(value, what)
    try:
        items = json.loads(raw)
    except ValueError:
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return tuple(items)
    logger.error("%s is not a list of texts", what)
    return (raw if raw.startswith(ALARM) else f"{ALARM} {raw[:200]}",)
