"""The host of the fake service, and what its doctor found: a test replaces a part of them."""

from __future__ import annotations

from meta.names import AgentName
from reconciler.queries.host import HostView, Trouble, Working
from reconciler.upkeep.doctor.checks.base import Verdict
from reconciler.upkeep.doctor.examine import Row
from reconciler.upkeep.doctor.live import Examined

EXAMINED = Examined(
    (
        Row("git", Verdict.OK, "git version 2.47.1"),
        Row("disk", Verdict.WARN, "only 1.2 GB are free", "remove what is not needed, see `hive doctor`"),
    ),
    1_700_000_000.0 - 120,
    3.1,
)
MACHINE = HostView(
    name="orchard",
    system="Linux 6.12.9, x86_64",
    started_at=1_700_000_000.0 - 90_000,
    pid=812,
    memory=16 * 10**9,
    memory_free=9 * 10**9,
    own_memory=180 * 10**6,
    load=(0.42, 0.5, 0.61),
    processors=4,
    disk=500 * 10**9,
    disk_free=60 * 10**9,
    disk_full=False,
    inodes=(30_000_000, 32_000_000),
    database=40 * 10**6,
    python="3.11.7",
    git="2.47.1",
    nix="",
    working=(Working(AgentName("alice"), "build"),),
    queued=1,
    troubles=(Trouble("discovery", "discovery fails since 2 min: no space"),),
    way_out=(),
    backup_at=None,
)
