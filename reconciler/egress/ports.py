"""What the parts of `hive-egress` need of each other: who asks, what is allowed, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from meta.names import AgentName
from meta.network.policy import AgentPolicy
from meta.network.report import ConnectionRecord, Metered
from meta.network.routes import Route
from reconciler.egress.denial import Denied as Denied
from reconciler.egress.pool import Upstreams

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Account(Protocol):
    """One open connection in the books. It is recorded when its context ends."""

    sent: int
    received: int

    def finish(self, end: str) -> None:
        """Note why it ended: a word of meta.network.report.ConnectionRecord."""


class Gate(Protocol):
    """One agent's way out. Every decision is made here; times, limits and counters too."""

    agent: AgentName
    upstreams: Upstreams
    """The agent's connections to the upstreams of its routes. No other agent's requests are on them."""

    @property
    def policy(self) -> AgentPolicy:
        """The policy of now."""

    def decide(self, host: str, port: int) -> str:
        """Return the canonical host if the agent may reach it at the port. Raise Denied, and count the refusal."""

    async def dial(self, host: str, port: int) -> Streams:
        """Decide, resolve, check the addresses, and connect to one that was checked. Raise Denied."""

    def account(self, kind: str, host: str, port: int) -> AbstractContextManager[Account]:
        """Open a connection in the books. A policy that no longer allows it cancels the task that entered this."""

    def refuse(self, kind: str, host: str, port: int, denied: Denied) -> None:
        """Count a refusal that was found later: by SNI, by a Host header, by a path."""

    def route(self, name: str) -> tuple[Route, str]:
        """Return a route and its key. Raise Denied: there is none, this agent may not use it, or it is held."""

    def routes(self) -> Mapping[str, str]:
        """Return the kind of each route that the agent may use, by name."""

    def refusals(self, after: int) -> tuple[list[ConnectionRecord], int]:
        """Return the refused connections with a number above `after`, and the newest number that there is."""

    def meter(self, tokens: Metered) -> None:
        """Add what an answer of a model's API says that it cost."""
