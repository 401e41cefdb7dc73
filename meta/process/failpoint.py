"""Failpoints of the crash matrix: end by SIGKILL at a named place. Without HIVE_FAILPOINT they do nothing.

An effect has a failpoint before it and one after it. If it is made of several operations, each of them has one as well,
`<effect>:<operation>`, which is reached once that operation is done. An operation may belong to several effects: it
takes the name of the one that it is part of.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ARMED = os.environ.get("HIVE_FAILPOINT", "")
_effect: ContextVar[str] = ContextVar("effect", default="")


def arm(name: str) -> None:
    """Arm the failpoint `name`; "" disarms. For processes that tests fork."""
    global _ARMED
    _ARMED = name


def hit(name: str) -> None:
    """End this process by SIGKILL if the failpoint `name` is armed."""
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def inside(effect: str) -> Iterator[None]:
    """Let the operations of the block, in threads too, belong to `effect`."""
    token = _effect.set(effect)
    try:
        yield
    finally:
        _effect.reset(token)


def operation(name: str) -> None:
    """Mark the end of an operation: die here if the failpoint of this operation in the present effect is armed."""
    if _ARMED:
        hit(f"{_effect.get()}:{name}")
