"""Run an operation. If the disk is full, the operator's commands that need little room get hive's reserve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from api.operations.base import AnyOperation, Call, Role
from meta.errors import DiskFull

if TYPE_CHECKING:
    from reconciler.upkeep.disk.guard import DiskGuard

ON_THE_RESERVE = frozenset(
    {
        *("kill", "deny", "cancel", "destroy", "send", "answer", "mark_read", "discard"),
        *("network_deny", "network_revoke"),
        *("dashboard_link", "revoke_dashboard_session", "revoke_dashboard_sessions"),
    }
)
"""Operations that help when the disk is full, or cost one small write. Not those that make an agent run or build."""


T = TypeVar("T")


async def perform(call: Call, operation: AnyOperation, value: Any) -> Any:
    """Return the answer of an operation that the caller may call. Raise HiveError if it fails."""
    if call.role is not Role.OPERATOR or operation.name not in ON_THE_RESERVE:
        return await operation.handler(call, value)
    return await on_the_reserve(call.service.disk, lambda: operation.handler(call, value))


async def on_the_reserve(disk: DiskGuard, work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `work`. If it met a full disk, it wrote nothing, and is tried once more on the reserve."""
    try:
        return await work()
    except DiskFull:
        if not await disk.borrow():
            raise
        try:
            return await work()
        finally:
            await disk.take_back()
