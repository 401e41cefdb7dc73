"""One systemd host for the tests that need one; what lies in `inside` is collected only there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.systemd import host, newer
from tests.support.systemd.lifetime import booted

collect_ignore = [] if os.environ.get(host.INSIDE) else ["inside"]


@pytest.fixture
def systemd_host() -> Iterator[host.SystemdHost]:
    """A booted host of the test's own: it takes less than a second."""
    why = host.missing()
    if why is not None:
        pytest.skip(why)
    with booted(host.SystemdHost) as made:
        yield made


@pytest.fixture
def newer_host() -> Iterator[host.SystemdHost]:
    """A booted host with the systemd of Debian 13."""
    why = newer.missing()
    if why is not None:
        pytest.skip(why)
    with booted(newer.make) as made:
        yield made
