"""The audit of the record, as the daemon runs it. `hive audit verify` does the same from outside."""

from __future__ import annotations

from dataclasses import dataclass

from api.operations.base import CHANGES, OPERATORS, READS, Call, Nothing, Route, operation
from reconciler.queries.audit import AuditResult


@dataclass(frozen=True, slots=True)
class AuditAnswer:
    """The last verification since the daemon started; None: there was none."""

    last: AuditResult | None


@operation("audit", OPERATORS, READS, routes=(Route("GET", "/api/audit"),))
async def audit(call: Call, _asked: Nothing) -> AuditAnswer:
    """Return the result of the last verification of events, tags and meta, without running one."""
    return AuditAnswer(call.service.audit.last)


@operation("verify_audit", OPERATORS, CHANGES, routes=(Route("POST", "/api/audit"),), waits=True)
async def verify_audit(call: Call, _asked: Nothing) -> AuditResult:
    """Verify events, tags and meta against each other now. Within a minute of the last time return that result."""
    return await call.service.audit.verify()


AUDIT = (audit, verify_audit)
"""The operations of this module."""
