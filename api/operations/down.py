"""The operation that takes the whole hive down."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pydantic import Field

from api.operations.base import OPERATORS, REMOVES, Call, Input, Route, operation
from meta.process.unit import own_unit
from reconciler.views import AgentOutcome


class DownInput(Input):
    """How to go down."""

    now: bool = Field(False, description="do not wait until the agents have finished their turns")


@dataclass(frozen=True, slots=True)
class Down:
    """What was stopped. `pid` is the daemon's.

    The daemon ends now, unless an agent has an error, or the daemon is a service of systemd, which would start it
    again: `unit` is its name, `stop` the command that ends it. Until then nothing runs.
    """

    agents: list[AgentOutcome]
    pid: int
    unit: str | None = None
    stop: str | None = None


@operation("down", OPERATORS, REMOVES, routes=(Route("POST", "/api/down"),), waits=True)
async def down(call: Call, asked: DownInput) -> Down:
    """Stop every agent, then end the daemon; the next one starts what ran. Cancelled if the caller disconnects."""
    agents = await call.service.swarm.down(call.who, asked.now)
    unit = own_unit()
    if unit is not None:
        return Down(agents, os.getpid(), unit.name, unit.command("stop"))
    if not any(outcome.error for outcome in agents):
        call.stopping.set()  # requests that are open are answered first
    return Down(agents, os.getpid())


DOWN = (down,)
