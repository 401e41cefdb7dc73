"""Run an operation. If the disk is full, the operator's commands that need little room get hive's reserve."""

from __future__ import annotations

from typing import Any

from api.operations.base import AnyOperation, Call, Role
from meta.errors import DiskFull

ON_THE_RESERVE = frozenset(
    {
        *("kill", "deny", "cancel", "destroy", "send", "answer", "mark_read", "discard"),
        *("network_deny", "network_revoke"),
        *("dashboard_link", "revoke_dashboard_session", "revoke_dashboard_sessions"),
    }
)
"""Operations that help when the disk is full, or cost one small write. Not those that make an agent run or build."""


async def perform(call: Call, operation: AnyOperation, value: Any) -> Any:
    """Return the answer of an operation that the caller may call. Raise HiveError if it fails.

    An operation that met a full disk is tried once more on the reserve: it wrote nothing, or what it wrote counts.
    """
    try:
        return await operation.handler(call, value)
    except DiskFull:
        disk = call.service.disk
        if call.role is not Role.OPERATOR or operation.name not in ON_THE_RESERVE or not await disk.borrow():
            raise
        try:
            return await operation.handler(call, value)
        finally:
            await disk.take_back()
