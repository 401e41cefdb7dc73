"""The rights that hive-egress gives up at its start. It needs none, also where the daemon that starts it is root."""

from __future__ import annotations

import ctypes
import os

from meta.errors import PermanentError

_NO_NEW_PRIVILEGES = 38
_AMBIENT, _CLEAR_ALL = 47, 4
_VERSION_3 = 0x20080522
_SETS = 6
"""Numbers of 32 bits in the structure of version 3: effective, permitted, inheritable, each twice."""


def give_up_rights() -> None:
    """Empty every set of capabilities, and take no new ones from a program. Raise PermanentError.

    root without capabilities is the owner of its own files, and no more: it cannot open others', mount, trace, or
    become another user.
    """
    if os.geteuid() != 0:
        return  # an ordinary user has none, and its unit may refuse the calls
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    done = (
        libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), 0, 0, 0),
        libc.prctl(_AMBIENT, ctypes.c_ulong(_CLEAR_ALL), 0, 0, 0),
        libc.capset(header, (ctypes.c_uint32 * _SETS)()),
    )
    if any(done):
        raise PermanentError(f"hive-egress cannot give up its rights: {os.strerror(ctypes.get_errno())}")
