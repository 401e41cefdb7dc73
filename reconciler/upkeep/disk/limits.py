"""The limits of an agent's files, in bytes and inodes."""

from __future__ import annotations

from dataclasses import dataclass

from meta.config import Config
from reconciler.common.reserve import Room
from reconciler.plan.observed import DiskUse
from reconciler.upkeep.disk.measure import Measured

BYTES_EACH = 16 * 1024
"""An agent may have one inode for this many bytes of its limit. ext4 makes as many."""
INODES_LEAST = 10_000
"""The inodes that an agent may have even if its limit in bytes is small."""


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """The most bytes and inodes of an agent's files. None is no limit."""

    bytes: int | None
    inodes: int | None


def limits_of(config: Config, room: Room | None, own_mib: int | None) -> DiskLimits:
    """Return the limits of an agent with its own limit in MiB, or with that of the settings (None).

    The limit of the settings is at most half of the file system, and the inodes are at most half of all inodes.
    """
    if own_mib is not None:
        most = own_mib * 2**20
    elif config.agent_disk_mib == 0:
        return DiskLimits(None, None)
    else:
        most = config.agent_disk_mib * 2**20
        most = min(most, room.whole // 2) if room is not None and room.whole else most
    inodes = max(most // BYTES_EACH, INODES_LEAST)
    return DiskLimits(most, min(inodes, room.all_inodes // 2) if room is not None and room.all_inodes else inodes)


def use_of(measured: Measured, limits: DiskLimits, *, full: bool) -> DiskUse:
    """Return what an agent holds, with its limits. `full`: the disk is full."""
    return DiskUse(
        measured.bytes,
        limits.bytes,
        measured.complete,
        suspect=full and not measured.complete,
        inodes=measured.inodes,
        inode_limit=limits.inodes,
        unlinked=measured.unlinked,
    )
