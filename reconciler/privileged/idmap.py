"""Whether a container can have the store with its owners: as an idmapped mount, which not every file system can be.

nspawn refuses to start with `idmap` on another file system, and the helper may not mount anything to try it. So it goes
by the type. Pure, except `of_host`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

SINCE: Mapping[str, tuple[int, int]] = {
    "ext4": (5, 12),
    "xfs": (5, 12),
    "btrfs": (5, 15),
    "f2fs": (6, 0),
    "tmpfs": (6, 3),
}
"""The file systems that can, and the kernel from which on. Others (overlay, 9p, nfs; zfs, which was not tried) count as
not able."""

_KERNEL = re.compile(r"(\d+)\.(\d+)")


def supported(store: str, mountinfo: str, kernel: str) -> bool:
    """Return True if `store` lies on a file system that this kernel maps."""
    since, match = SINCE.get(_type(store, mountinfo)), _KERNEL.match(kernel)
    return since is not None and match is not None and (int(match[1]), int(match[2])) >= since


def of_host(store: str) -> bool:
    """Return `supported` for this host, and False if its mounts cannot be read."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return supported(os.path.realpath(store), mountinfo, os.uname().release)


def _type(path: str, mountinfo: str) -> str:
    """Return the type of the last mount that `path` lies on, or an empty text."""
    kind, longest = "", -1
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        words = left.split()
        if not separator or len(words) < 5:
            continue
        point = words[4].rstrip("/")
        if (path == point or path.startswith(f"{point}/")) and len(point) >= longest:
            kind, longest = right.split()[0], len(point)
    return kind
