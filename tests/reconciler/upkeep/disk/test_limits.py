"""The limits of an agent's files: its own, or that of the settings; in bytes and inodes."""

from __future__ import annotations

from meta.config import Config
from reconciler.common.reserve import Room
from reconciler.upkeep.disk.limits import INODES_LEAST, DiskLimits, limits_of, use_of
from reconciler.upkeep.disk.measure import Measured

GIB = 2**30
LARGE = Room(GIB, 1000 * GIB, inodes=10**7, all_inodes=10**8)


def test_the_limit_of_the_settings_is_at_most_half_of_the_file_system() -> None:
    config = Config(agent_disk_mib=10 * 1024)
    assert limits_of(config, LARGE, None).bytes == 10 * GIB
    assert limits_of(config, Room(GIB, 8 * GIB, inodes=10**7, all_inodes=10**8), None).bytes == 4 * GIB


def test_an_agents_own_limit_counts_instead_even_if_the_settings_have_none() -> None:
    assert limits_of(Config(agent_disk_mib=0), LARGE, 20 * 1024).bytes == 20 * GIB
    assert limits_of(Config(agent_disk_mib=0), LARGE, None) == DiskLimits(None, None)


def test_inodes_follow_from_the_bytes_and_are_at_most_half_of_all() -> None:
    config = Config(agent_disk_mib=10 * 1024)
    assert limits_of(config, LARGE, None).inodes == 10 * GIB // 16384
    assert limits_of(config, LARGE, 1).inodes == INODES_LEAST
    assert limits_of(config, Room(GIB, 1000 * GIB, inodes=5, all_inodes=4000), None).inodes == 2000


def test_an_agent_with_too_many_empty_files_exceeds_its_limit() -> None:
    assert use_of(Measured(0, inodes=10_001), DiskLimits(2**20, 10_000), full=False).over
    assert not use_of(Measured(0, inodes=10_000), DiskLimits(2**20, 10_000), full=False).over


def test_an_agent_that_cannot_be_counted_is_over_only_on_a_full_disk_and_exceeds_nothing() -> None:
    measured, limits = Measured(0, complete=False), DiskLimits(2**20, 10_000)
    use = use_of(measured, limits, full=True)
    assert (use.over, use.exceeds) == (True, False)
    assert not use_of(measured, limits, full=False).over
