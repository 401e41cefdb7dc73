"""The files of a host whose systemd is newer than this machine's: a root of Debian 13, which has systemd 257.

`make test-prerequisites` makes it (tests/support/get-newer-systemd.sh). This machine's Python and this checkout are
bound into the host. It has no limits, because no systemd after 255 boots on version 1 controllers.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.systemd import host

ROOT = Path(os.environ.get("HIVE_TEST_CACHE", "/var/cache/hive-tests")) / "trixie-host"


def missing() -> str | None:
    """Return why there is no such host, or None."""
    why = host.missing()
    if why is None and not (ROOT / "usr/lib/systemd/systemd").exists():
        why = "there is no root of Debian 13 (as root: sh tests/support/get-newer-systemd.sh)"
    return why


def make(folder: Path) -> host.SystemdHost:
    """Return a host with these files, which is not yet made."""
    return host.SystemdHost(folder, system=ROOT)
