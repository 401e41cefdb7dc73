"""A start on a full disk stops the agents above their own or the general limit, and those that cannot be counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.layout import Layout
from meta.names import AgentName
from reconciler.common.reserve import Room
from reconciler.daemon import full_disk
from reconciler.plan.observed import DiskUse
from reconciler.upkeep.disk.limits import limits_of, use_of
from reconciler.upkeep.disk.measure import Measured

ALICE = AgentName("alice")
MIB = 2**20
ROOM = Room(0, 1000 * MIB)


def use(measured: Measured, own_mib: int | None) -> DiskUse:
    return use_of(measured, limits_of(Config(agent_disk_mib=10), ROOM, own_mib), full=True)


@pytest.mark.parametrize(
    ("measured", "own_mib", "stopped"),
    [
        (Measured(11 * MIB), None, True),
        (Measured(11 * MIB), 20, False),
        (Measured(6 * MIB), 5, True),
        (Measured(0, complete=False), 20, True),
    ],
)
def test_the_own_limit_of_an_agent_counts(measured: Measured, own_mib: int | None, stopped: bool) -> None:
    assert use(measured, own_mib).over == stopped


async def test_own_limits_come_from_meta_and_none_are_known_without_it(tmp_path: Path) -> None:
    layout, config = Layout(tmp_path / "s", tmp_path / "r"), Config()
    assert await full_disk._own_limits(layout, config) == {}
    await MetaRepo(layout).create(1)
    assert await full_disk._own_limits(layout, config) == {}
