"""Decoding what an agent sent, so that a line that takes long to read holds up nobody but its sender."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MANY = 2_000
"""Values that a line may have and be read on the loop; a long text is one value, and is read quickly."""


class Decoder(Generic[T]):
    """One per agent: of its lines with very many values one is read at a time, in a thread beside the loop."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._decode = decode
        self._turn = asyncio.Lock()

    async def __call__(self, line: bytes) -> T:
        """What `decode` makes of the line."""
        if line.count(b",") <= MANY:  # commas in texts count too: then the thread was not needed, and does no harm
            return self._decode(line)
        async with self._turn:
            return await asyncio.to_thread(self._decode, line)
