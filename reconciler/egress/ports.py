"""What the parts of `hive-egress` need of each other: who asks, what is allowed, and what is counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from meta.names import AgentName
from meta.network.policy import AgentPolicy
from meta.network.report import Metered
from meta.network.routes import Route
from meta.network.verdict import Verdict
from reconciler.egress.pool import Upstreams
from reconciler.egress.share import Share

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

TUNNEL = "tunnel"
HTTP = "http"
ROUTE = "route"
"""The kinds of connections: `meta.network.report.ConnectionRecord.kind`."""


class Denied(Exception):
    """A connection that hive-egress does not make. `phrase` is one line of ASCII, for the status line.

    `host`: the canonical host that was refused, if it is another than the connection's own.
    """

    def __init__(self, verdict: Verdict, phrase: str, host: str = "") -> None:
        super().__init__(phrase)
        self.verdict = verdict
        self.phrase = phrase
        self.host = host
        self.counted = False  # once it is in the books, it is not counted again on its way to the answer


class Account(Protocol):
    """One open connection in the books. It is recorded when its context ends."""

    sent: int
    received: int
    private: bool
    """It is to an address that only the operator's file opens."""

    def finish(self, end: str) -> None:
        """Note why it ended: a word of meta.network.report.ConnectionRecord."""


class Keys(Protocol):
    """The keys of the operator's file."""

    def key(self, route: Route) -> str:
        """Return the key of a route. Raise Denied with NO_KEY: its file is missing, readable by others, or empty."""

    def problem(self, route: Route) -> str:
        """Return what is wrong with the file of a key, "" if nothing is."""


class Gate(Protocol):
    """One agent's way out. Every decision is made here; times, limits and counters too."""

    @property
    def agent(self) -> AgentName:
        """The agent whose socket it is."""

    @property
    def upstreams(self) -> Upstreams:
        """The agent's connections to the upstreams of its routes. No other agent's requests are on them."""

    @property
    def share(self) -> Share:
        """The agent's share of the time in which HTTP is parsed."""

    @property
    def policy(self) -> AgentPolicy:
        """The policy of now."""

    @property
    def idle_seconds(self) -> float:
        """Seconds without a byte either way after which a connection ends: the operator's setting."""

    def decide(self, host: str, port: int, kind: str = TUNNEL) -> str:
        """Return the canonical host if the agent may reach it at the port. Raise Denied, and count the refusal."""

    async def dial(self, host: str, port: int, account: Account) -> Streams:
        """Decide, resolve, check the addresses, and connect plain HTTP to one that was checked. Raise Denied.

        It is noted in `account` if the address is private.
        """

    async def dial_upstream(self, host: str, port: int) -> socket.socket:
        """Connect to the upstream of a route, which the operator's file names: there is no decision. Raise Denied."""

    def account(self, kind: str, host: str, port: int, route: str = "") -> AbstractContextManager[Account]:
        """Open a connection in the books. A policy that no longer allows it cancels the task that entered this.

        With `route` it is allowed while the agent may use that route; a route that is held ends no connection.
        """

    def refuse(self, kind: str, host: str, port: int, denied: Denied) -> None:
        """Count a refusal that was found later: by SNI, by a Host header, by a path."""

    def route(self, name: str) -> tuple[Route, str]:
        """Return a route and its key. Raise Denied, and count it.

        There may be none, this agent may not use it, it is held, or its key cannot be used.
        """

    def routes(self) -> Mapping[str, str]:
        """Return the kind of each route that the agent may use, by name."""

    def git_upstreams(self) -> Mapping[str, str]:
        """Return where each route of kind `git` leads that the agent may use, by name."""

    def meter(self, tokens: Metered) -> None:
        """Add what an answer of a model's API says that it cost."""

    async def pace(self, count: int) -> None:
        """Count bytes that were carried, and wait until the agent's limit of bytes per second allows more."""

    def refused_after(self, number: int) -> tuple[list[tuple[str, int, int]], int]:
        """Return what was refused after a number, as hosts, ports and counts, and the number of the last one."""
