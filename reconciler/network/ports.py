"""What this room needs of the way out. The daemon gives reconciler.network.way_out.WayOut."""

from __future__ import annotations

from typing import Protocol

from meta.names import AgentName
from meta.network.policy import Policy
from meta.network.report import ConnectionRecord, Report


class Obeyed(Protocol):
    """The policy that hive-egress obeys, and what it reports."""

    @property
    def report(self) -> Report | None:
        """The last report; None before the first one."""

    @property
    def policy(self) -> Policy:
        """The policy that was pushed last, or is to be."""

    @property
    def obeyed(self) -> Policy | None:
        """The policy that hive-egress obeys; None if that is not the one of now, or nothing is known."""

    @property
    def problem(self) -> str:
        """Why there is no way out now; "" if there is one."""

    async def push(self) -> None:
        """Push the policy of now; return once it is obeyed. Raise TransientError, PermanentError."""

    async def connections(self, agent: AgentName, after: int) -> list[ConnectionRecord]:
        """Return the agent's connections after a number, and those that go on. Raise TransientError."""
