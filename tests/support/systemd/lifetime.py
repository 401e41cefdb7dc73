"""The lifetime of a systemd host: made and booted for one block, then removed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.systemd.host import SystemdHost


@contextmanager
def booted(make: Callable[[Path], SystemdHost]) -> Iterator[SystemdHost]:
    """Yield the host that `make` returns for a directory of its own."""
    # not on a tmpfs that has less room than a host's changes need, and not below another overlay
    with tempfile.TemporaryDirectory(prefix="hive-host-", dir="/var/tmp") as folder:
        made = make(Path(folder))
        try:
            made.make()
            made.boot()
            yield made
        finally:
            made.remove()
