"""How many values a request's body has: the SDK reads them all on the loop, whatever they are for."""

from __future__ import annotations

import asyncio
import json

MOST = 10_000
"""Values of one request; a tool call has a few dozen, and a long text is one."""


async def too_heavy(body: bytes) -> bool:
    """Whether `body` is JSON of more than MOST values. What is no JSON is not: the SDK says what is wrong with it."""
    if body.count(b",") <= MOST:
        return False
    return await asyncio.to_thread(_heavy, body)  # perhaps only a text with many commas


def _heavy(body: bytes) -> bool:
    try:
        layer: list[object] = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    count = 0
    while layer and count <= MOST:
        count += len(layer)
        layer = [child for item in layer for child in _children(item)]
    return count > MOST


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []
