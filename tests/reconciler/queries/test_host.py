"""The machine, as a real daemon sees it; and its doctor, which examines that hive."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from reconciler.upkeep.backups.write import Wanted

if TYPE_CHECKING:
    from reconciler.daemon.daemon import Daemon


async def test_the_machine_and_the_daemon_are_described_as_they_are(daemon: Daemon) -> None:
    seen = await daemon.service.host()
    assert (seen.pid, seen.python, seen.name) == (os.getpid(), platform.python_version(), platform.node())
    assert 0 < seen.memory_free <= seen.memory and 0 < seen.own_memory < seen.memory
    assert 0 <= seen.disk_free <= seen.disk and seen.database > 0
    assert seen.git[0].isdigit() and seen.processors > 0
    assert (seen.working, seen.troubles, seen.backup_at) == ((), (), None)


async def test_a_backup_is_known_once_it_is_made(daemon: Daemon) -> None:
    (await daemon.service.backup("b.tar", Wanted())).unlink()
    seen = await daemon.service.host()
    assert seen.backup_at is not None and seen.backup_at >= seen.started_at


async def test_the_doctor_of_a_daemon_examines_its_own_hive(daemon: Daemon) -> None:
    found = await daemon.service.doctor.examine(60)
    by_check = {row.check: row for row in found.rows}
    assert not found.running and found.at is not None
    assert (by_check["database"].verdict, by_check["meta"].verdict) == ("ok", "ok")
    assert "backend fake" in by_check["daemon"].text
