"""POST /api/backup: a consistent backup of the running hive, as a tar. See reconciler/archive.py."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from litestar import Response, post
from litestar.response import Stream

from api.requests import Ask, Body, body, service_of
from meta.disk import disk_error
from reconciler import backup as backups

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
    wanted = backups.Wanted(asked.proposed, asked.agents)
    descriptor = _taken(await service_of(request).backup(name, wanted))
    size = os.fstat(descriptor).st_size
    return Stream(_content(descriptor), media_type=MEDIA_TYPE, headers={"content-length": str(size)})


def _taken(path: Path) -> int:
    """The open file, which has no name any more: whatever happens next, nothing is left over."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        path.unlink()
    except OSError as error:
        raise disk_error(f"cannot send the backup {path}", error) from error
    return descriptor


async def _content(descriptor: int) -> AsyncIterator[bytes]:
    with os.fdopen(descriptor, "rb") as file:
        while block := file.read(_BLOCK):
            yield block
