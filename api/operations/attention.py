"""What needs a person: the attention list, and a test of where its new rows are sent."""

from __future__ import annotations

from api.operations.base import CHANGES, OPERATORS, READS, Call, Nothing, Route, operation
from reconciler.attention.notifier import NotifyResult
from reconciler.attention.row import Attention


@operation("attention", OPERATORS, READS, routes=(Route("GET", "/api/attention"),))
async def attention(call: Call, _asked: Nothing) -> Attention:
    """Return what needs a person: the most severe rows first, then the oldest."""
    return await call.status.attention()


@operation("test_notify", OPERATORS, CHANGES, routes=(Route("POST", "/api/attention/test"),))
async def test_notify(call: Call, _asked: Nothing) -> NotifyResult:
    """Send a notification to try out HIVE_NOTIFY, and return what came back."""
    return await call.service.notifier.test()


ATTENTION = (attention, test_notify)
