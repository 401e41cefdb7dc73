"""Texts of rows that may be damaged: selected as bytes, so that one bad row cannot hide the others of a list."""

from __future__ import annotations

import json
import logging

logger = logging.getLogger(__name__)

CUT = "…"
"""Stands where a text goes on."""
ALARM = "[hive: this row of the database is damaged]"
"""Stands before what could be read of it."""


def text(value: object, what: str) -> str:
    """A column that was selected as `CAST(... AS BLOB)`; what is no UTF-8 is shown with ALARM."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            logger.error("%s holds no valid text", what)
            return f"{ALARM} {value.decode(errors='replace')}"
    logger.error("%s holds no text", what)
    return f"{ALARM} {value!r}"


def beginning(value: object, whole: bool, what: str) -> str:
    """As `text`; what is not `whole` ends with CUT, in the place of a character that was cut in the middle."""
    if isinstance(value, bytes) and not whole:
        for _ in range(3):
            if value and value[-1] & 0xC0 == 0x80:
                value = value[:-1]
        if value and value[-1] >= 0xC0:
            value = value[:-1]
    return text(value, what) + ("" if whole else CUT)


def texts(value: object, what: str) -> tuple[str, ...]:
    """A JSON array of texts, selected in the same way; anything else gives ALARM with it, as the only item."""
    raw = text(value, what)
    try:
        items = json.loads(raw)
    except ValueError:
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return tuple(items)
    logger.error("%s holds no list of texts", what)
    return (raw if raw.startswith(ALARM) else f"{ALARM} {raw[:200]}",)
