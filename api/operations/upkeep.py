"""Operations for running hive: backup, metrics, health."""

from __future__ import annotations

import asyncio
import os
import secrets
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path

from pydantic import Field

from api.operations.base import OPERATORS, READS, Call, Input, Nothing, Raw, Route, operation
from meta.errors import HiveError, TransientError
from meta.process.disk import disk_error
from reconciler.telemetry.metrics import CONTENT_TYPE
from reconciler.upkeep.backups.write import Wanted

HEALTH_SECONDS = 5.0
"""Seconds that each health check may take."""
TAR = "application/x-tar"
_BLOCK = 2**18


class BackupInput(Input):
    """The optional contents of a backup."""

    proposed: bool = Field(False, description="the proposed work trees as well")
    agents: bool = Field(False, description="agents' /state and homes as well, which hold credentials")
    compressed: bool = False


@operation("backup", OPERATORS, READS, routes=(Route("POST", "/api/backup", media=(TAR,)),))
async def backup(call: Call, asked: BackupInput) -> Raw:
    """Return a consistent backup of the running hive as a tar. The daemon keeps no copy."""
    name = f"backup-{secrets.token_hex(8)}.tar{'.gz' if asked.compressed else ''}"
    wanted = Wanted(asked.proposed, asked.agents)
    content = Content(_open_unlinked(await call.service.backup(name, wanted)))
    return Raw(content, TAR, {"content-length": str(content.size)})


def _open_unlinked(path: Path) -> int:
    """Open and unlink the file, and return its descriptor. So no file is left over if the request fails."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        path.unlink()
    except OSError as error:
        raise disk_error(f"cannot send the backup {path}", error) from error
    return descriptor


class Content:
    """The blocks of an open file. The file is closed after the last block, or when this object is collected.

    A generator would not do. If the client disconnects before it starts, it never closes the file.
    """

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        try:
            while block := os.read(self._descriptor, _BLOCK):
                yield block
        finally:
            self._close()


@operation("metrics", OPERATORS, READS, routes=(Route("GET", "/metrics", media=(CONTENT_TYPE,)),))
async def metrics(call: Call, _asked: Nothing) -> Raw:
    """Return every metric in the format of Prometheus."""
    return Raw(await call.service.metrics(), CONTENT_TYPE)


@operation("healthz", OPERATORS, READS, routes=(Route("GET", "/healthz"),))
async def healthz(call: Call, _asked: Nothing) -> dict[str, str]:
    """Return 200 if the daemon can read its database and its agents, else 503 with the reason as a problem.

    Agents that are down do not count: a restart of the daemon would not help them.
    """
    parts: dict[str, str] = {}
    for name, look in (("database", call.service.events.last), ("agents", call.service.status)):
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await look()
            parts[name] = "ok"
        except HiveError as error:
            parts[name] = error.summary
        except TimeoutError:
            parts[name] = f"no answer within {HEALTH_SECONDS:g} s"
    failures = [f"{name}: {result}" for name, result in parts.items() if result != "ok"]
    if failures:
        raise TransientError("; ".join(failures), "see the daemon's log; `hive doctor` checks more")
    return {"status": "ok", **parts}


UPKEEP = (backup, metrics, healthz)
