"""The limits and isolation that backend `nixos` enforces on this host, in words."""

from __future__ import annotations

from pathlib import Path

from reconciler.backends.base import Abilities, soft_note
from reconciler.common.controllers import CONTROLLERS

ISOLATION = "systemd-nspawn: own mount, pid, network, ipc, uts and user namespace"
UIDS = "each agent has its own range of 65,536 uids"
BUS_AWAY = "the system bus is not connected: containers are shown as they were last seen"


def abilities(*, ready: bool, soft_scopes: bool = False, root: Path = Path("/sys/fs/cgroup")) -> Abilities:
    """Return what is enforced. `ready`: the system bus is connected. `root`: the mount point of control groups.

    `soft_scopes`: the operator allows scopes that the kernel cannot hold.
    """
    limits = _limits(root)
    notes = [] if ready else [BUS_AWAY]
    if limits.startswith("not enforced"):
        notes.append(f"limits {limits}")
    notes += soft_note(soft=soft_scopes)
    return Abilities(ISOLATION, limits, UIDS, tuple(notes))


def _limits(root: Path) -> str:
    """Return which control groups systemd has for memory, processes and CPU."""
    try:
        unified = (root / "cgroup.controllers").read_text(encoding="ascii").split()
    except OSError:
        unified = []
    if set(CONTROLLERS) <= set(unified):
        return "systemd, control groups version 2: memory, processes, CPU"
    if all((root / name).is_dir() for name in CONTROLLERS):
        return "systemd, control groups version 1: memory, processes, CPU"
    return "not enforced: systemd has no controllers for memory, processes and CPU here"
