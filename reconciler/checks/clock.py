"""Whether the kernel's clock is kept by somebody: adjtimex(2), read only."""

from __future__ import annotations

import ctypes

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than any struct timex; with modes = 0 nothing is set."""


def synchronised() -> bool | None:
    """False when the kernel says that nobody keeps its clock; None when it does not say."""
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return None
    state = int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if state < 0 else state != _TIME_ERROR
