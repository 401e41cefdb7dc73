"""Measure inside of a systemd host with nix, which is made for that and removed afterwards."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.systemd import host, lifetime, nixhost


@contextlib.contextmanager
def booted(settings: Mapping[str, str | float]) -> Iterator[host.SystemdHost | None]:
    """Yield a host whose hive has these settings; None if there can be no such host."""
    programs = nixhost.programs()
    if host.missing() is not None or nixhost.missing() is not None or programs is None:
        yield None
        return
    with lifetime.booted(lambda folder: host.SystemdHost(folder, nixhost.Nix(programs, settings))) as made:
        yield made


def measured(made: host.SystemdHost, *words: str, seconds: float) -> Any:
    """Run a module in the host, and return the JSON of its last line."""
    done = made.run([sys.executable, "-m", *words], seconds=seconds)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-4000:])
    return json.loads(done.stdout.splitlines()[-1])
