"""Decode the lines of an agent. A line that is slow to parse delays only its sender."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_ON_LOOP = 2_000
"""Values of a line that is parsed on the loop. A long text counts as one value, since it parses fast."""


class Decoder(Generic[T]):
    """Decodes the lines of one agent. Lines with many values are parsed in a thread, one at a time."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._decode = decode
        self._turn = asyncio.Lock()

    async def __call__(self, line: bytes) -> T:
        """Return the decoded line."""
        if line.count(b",") <= MAX_ON_LOOP:  # commas in texts count too; then the thread is only not needed
            return self._decode(line)
        async with self._turn:
            return await asyncio.to_thread(self._decode, line)
