"""The machine, and the doctor's findings about it."""

from __future__ import annotations

from pydantic import Field

from api.operations.base import CHANGES, OPERATORS, READS, Call, Input, Nothing, Route, operation
from reconciler.queries.host import HostView
from reconciler.upkeep.doctor.live import Examined

MAX_WAIT = 600


class ExamineInput(Input):
    """The length of the wait."""

    wait: float = Field(30.0, ge=0, le=MAX_WAIT, allow_inf_nan=False, description="seconds to wait for the findings")


@operation("host", OPERATORS, READS, routes=(Route("GET", "/api/host"),))
async def host(call: Call, _asked: Nothing) -> HostView:
    """Return the machine: space, memory, versions, and what the daemon does on it now."""
    return await call.service.host()


@operation("doctor", OPERATORS, READS, routes=(Route("GET", "/api/doctor"),))
async def doctor(call: Call, _asked: Nothing) -> Examined:
    """Return what the doctor found when it last ran in this daemon."""
    return call.service.doctor.last


@operation("run_doctor", OPERATORS, CHANGES, routes=(Route("POST", "/api/doctor"),), waits=True)
async def run_doctor(call: Call, asked: ExamineInput) -> Examined:
    """Run the doctor's checks in the daemon, at most once a minute. Nothing is repaired."""
    return await call.service.doctor.examine(asked.wait)


HOST = (host, doctor, run_doctor)
