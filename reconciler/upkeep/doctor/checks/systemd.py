"""What hive needs of systemd where backend `nixos` runs the containers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

BUS = Path("/run/dbus/system_bus_socket")
"""Where the system bus listens, unless DBUS_SYSTEM_BUS_ADDRESS names another place."""
_REMEDY = "systemctl status dbus.socket; the daemon connects again by itself, containers go on meanwhile"


async def bus(subject: Subject) -> list[Finding]:
    """The system bus, from which backend `nixos` knows what containers do."""
    if subject.backend != "nixos":
        return ok(f"backend {subject.backend} does without")
    said = [note for note in subject.daemon.notes if "system bus" in note] if subject.daemon is not None else []
    if said:
        return [Finding(Verdict.FAIL, f"the daemon says: {said[0]}", _REMEDY)]
    if subject.daemon is not None:
        return ok("the daemon is connected to it")
    path = _place()
    if path is not None and not _is_socket(path):
        return [Finding(Verdict.FAIL, f"no system bus at {path}: the daemon could not start", _REMEDY)]
    return ok(f"listens at {path}" if path is not None else "it is somewhere else than in a file")


def _place() -> Path | None:
    """Its socket; None for an address of another form."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={BUS}")
    kind, _, path = address.split(",")[0].partition("=")
    return Path(path) if kind == "unix:path" else None


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
