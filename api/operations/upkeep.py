"""For whoever keeps hive running: a backup, metrics, whether it is well."""

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
"""How long the daemon may take to look at itself."""
TAR = "application/x-tar"
_BLOCK = 2**18


class BackingUp(Input):
    """What is in a backup."""

    proposed: bool = Field(False, description="the proposed work trees as well")
    agents: bool = Field(False, description="agents' /state and homes as well, which hold credentials")
    compressed: bool = False


@operation("backup", OPERATORS, READS, routes=(Route("POST", "/api/backup", media=(TAR,)),))
async def backup(call: Call, asked: BackingUp) -> Raw:
    """A consistent backup of the running hive, as a tar; whoever asked keeps it, nothing of it stays here."""
    name = f"backup-{secrets.token_hex(8)}.tar{'.gz' if asked.compressed else ''}"
    wanted = Wanted(asked.proposed, asked.agents)
    content = Content(_taken(await call.service.backup(name, wanted)))
    return Raw(content, TAR, {"content-length": str(content.size)})


def _taken(path: Path) -> int:
    """The open file, which has no name any more: whatever happens next, nothing is left over."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        path.unlink()
    except OSError as error:
        raise disk_error(f"cannot send the backup {path}", error) from error
    return descriptor


class Content:
    """The blocks of an open file, which is closed when they are sent or nobody wants them any more.

    A generator alone would not do: one that is never begun, for its client went away, closes nothing.
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
    """Every metric, as Prometheus reads it."""
    return Raw(await call.service.metrics(), CONTENT_TYPE)


@operation("healthz", OPERATORS, READS, routes=(Route("GET", "/healthz"),))
async def healthz(call: Call, _asked: Nothing) -> dict[str, str]:
    """200 while the daemon can read what it works with, else 503 with what is wrong as a problem.

    That agents are down does not matter here: restarting the daemon would not help them.
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
    wrong = [f"{name}: {word}" for name, word in parts.items() if word != "ok"]
    if wrong:
        raise TransientError("; ".join(wrong), "see the daemon's log; `hive doctor` looks at more")
    return {"status": "ok", **parts}


UPKEEP = (backup, metrics, healthz)
