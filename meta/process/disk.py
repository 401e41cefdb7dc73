"""What a failed call on the disk means: a full one may pass, a missing permission does not."""

from __future__ import annotations

import errno
import os

from meta.errors import HiveError, PermanentError, TransientError

_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}


def disk_error(doing: str, error: OSError) -> HiveError:
    """`error` as one of hive's: a full disk may pass, a missing permission does not."""
    summary = f"{doing}: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in _PASSING:
        return TransientError(summary, "free some space or mend the disk; hive goes on by itself")
    return PermanentError(summary, "check who owns the state directory and its modes")
