"""The check of the system bus, which backend `nixos` needs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from reconciler.upkeep.doctor.checks.base import Finding, Subject, Verdict, ok

BUS = Path("/run/dbus/system_bus_socket")
"""The socket of the system bus, unless DBUS_SYSTEM_BUS_ADDRESS names another."""
_REMEDY = "systemctl status dbus.socket; the daemon connects again by itself, and containers keep running"


async def bus(subject: Subject) -> list[Finding]:
    """Check the system bus, on which backend `nixos` observes the containers."""
    if subject.backend != "nixos":
        return ok(f"backend {subject.backend} does not need it")
    notes = [note for note in subject.daemon.notes if "system bus" in note] if subject.daemon is not None else []
    if notes:
        return [Finding(Verdict.FAIL, f"the daemon reports: {notes[0]}", _REMEDY)]
    if subject.daemon is not None:
        return ok("the daemon is connected to it")
    path = _socket_path()
    if path is not None and not _is_socket(path):
        return [Finding(Verdict.FAIL, f"there is no system bus at {path}: the daemon could not start", _REMEDY)]
    return ok(f"it listens at {path}" if path is not None else "its address is not a path")


def _socket_path() -> Path | None:
    """Return the socket of the bus; None for an address of another form."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={BUS}")
    kind, _, path = address.split(",")[0].partition("=")
    return Path(path) if kind == "unix:path" else None


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
