"""One systemd host for the tests that need one; what lies in `inside` is collected only there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.systemd import host, newer

collect_ignore = [] if os.environ.get(host.INSIDE) else ["inside"]


@pytest.fixture
def systemd_host() -> Iterator[host.SystemdHost]:
    """A booted host of the test's own: it takes less than a second."""
    why = host.missing()
    if why is not None:
        pytest.skip(why)
    with _booted(host.SystemdHost) as made:
        yield made


@pytest.fixture
def newer_host() -> Iterator[host.SystemdHost]:
    """A booted host with the systemd of Debian 13."""
    why = newer.missing()
    if why is not None:
        pytest.skip(why)
    with _booted(newer.make) as made:
        yield made


@contextmanager
def _booted(make: Callable[[Path], host.SystemdHost]) -> Iterator[host.SystemdHost]:
    # not on a tmpfs that has less room than a host's changes need, and not below another overlay
    with tempfile.TemporaryDirectory(prefix="hive-host-", dir="/var/tmp") as folder:
        made = make(Path(folder))
        try:
            made.make()
            made.boot()
            yield made
        finally:
            made.remove()
