"""Convert failed calls on the disk, or for a descriptor, into hive's errors."""

from __future__ import annotations

import errno
import os

from meta.errors import DiskFull, HiveError, PermanentError, TransientError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PASSING = {errno.EIO, errno.EROFS, errno.ENOMEM, errno.EFBIG}
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


def disk_error(doing: str, error: OSError) -> HiveError:
    """Return the error for `doing`: transient for a full disk, permanent for a missing permission."""
    summary = f"{doing}: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in FULL:
        return DiskFull(
            summary, "free some space (`hive status` names who holds the most); hive then continues by itself"
        )
    if error.errno in NO_DESCRIPTOR:
        return TransientError(summary, "hive continues by itself once connections are closed; see `hive doctor`")
    if error.errno in _PASSING:
        return TransientError(summary, "free some space or repair the disk; hive then continues by itself")
    return PermanentError(summary, "check who owns the state directory and its modes")


def raise_if_no_descriptor(doing: str, error: OSError) -> None:
    """Raise TransientError if `error` is a lack of descriptors: it is no fault of the file that was to be opened."""
    if error.errno in NO_DESCRIPTOR:
        raise disk_error(doing, error) from error
