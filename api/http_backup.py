"""POST /api/backup: a consistent backup of the running hive, as a tar. See reconciler/backups/archive.py."""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from litestar import Response, post
from litestar.response import Stream

from api.requests import Ask, Body, body, service_of
from meta.disk import disk_error
from reconciler.backups.write import Wanted

MEDIA_TYPE = "application/x-tar"
_BLOCK = 2**18


class Backup(Body):
    """`proposed`: the proposed work trees as well; `agents`: agents' /state and homes, which hold credentials."""

    proposed: bool = False
    agents: bool = False
    compressed: bool = False


@post("/backup", status_code=200)
async def backup(request: Ask) -> Response[Any]:
    """Make the tar in the daemon's scratch, then send it; whoever asked keeps it. Nothing of it stays here."""
    asked = await body(request, Backup)
    name = f"backup-{secrets.token_hex(8)}.tar{'.gz' if asked.compressed else ''}"
    wanted = Wanted(asked.proposed, asked.agents)
    content = Content(_taken(await service_of(request).backup(name, wanted)))
    size = content.size
    return Stream(content, media_type=MEDIA_TYPE, headers={"content-length": str(size)})


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
