"""What a failed call on the disk means for a build."""

from __future__ import annotations

import errno

from meta.errors import HiveError, PermanentError, TransientError

_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS})


def disk_error(what: str, error: OSError) -> HiveError:
    """TransientError where it may pass by itself (a full disk), else PermanentError."""
    summary = f"{what}: {error.strerror or error}"
    if error.errno in _PASSING:
        return TransientError(summary, "free some space; hive goes on by itself")
    return PermanentError(summary, "check who owns the state directory and its modes")
