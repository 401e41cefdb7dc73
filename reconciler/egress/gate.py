"""One agent's way out: what is decided, dialled and counted for it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from meta.errors import BadInput
from meta.names import AgentName
from meta.network.operator_watch import OperatorWatch
from meta.network.policy import AgentPolicy
from meta.network.report import Metered
from meta.network.routes import Route
from meta.network.rule import authority, canonical_host, is_address
from meta.network.verdict import Verdict
from reconciler.egress import addresses
from reconciler.egress.answers import one_line
from reconciler.egress.counters import Book, Entry
from reconciler.egress.limits import DIAL_SECONDS, DIALS_PER_AGENT, Pace
from reconciler.egress.pool import Upstreams
from reconciler.egress.ports import HTTP, ROUTE, TUNNEL, Account, Denied, Keys, Streams
from reconciler.egress.resolver import Resolver, connect
from reconciler.egress.share import Share

Clock = Callable[[], float]
_TARGET_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection outside. `host` is canonical; `private`: it is to an address that only the operator's file opens."""

    host: str
    connection: socket.socket
    private: bool


class AgentGate:
    """The gate of one agent. It obeys the policy that it was given last, and the operator's file of now."""

    def __init__(
        self,
        agent: AgentName,
        policy: AgentPolicy,
        network: OperatorWatch,
        book: Book,
        keys: Keys,
        resolver: Resolver,
        clock: Clock = time.time,
    ) -> None:
        self._agent = agent
        self._policy = policy
        self._due = policy.next_end(clock())
        self._network = network
        self._keys = keys
        self._resolver = resolver
        self._clock = clock
        self._dials = asyncio.Semaphore(DIALS_PER_AGENT)
        self.book = book
        self.upstreams = Upstreams(self.dial_upstream)
        """Its connections to the upstreams of its routes."""
        self.share = Share(asyncio.get_running_loop().time)
        self.pacer = Pace(self._bytes_per_second, asyncio.get_running_loop().time)

    @property
    def agent(self) -> AgentName:
        """The agent whose socket it is."""
        return self._agent

    @property
    def policy(self) -> AgentPolicy:
        """The policy of now."""
        return self._policy

    @property
    def idle_seconds(self) -> float:
        """Seconds without a byte either way after which a connection ends: the operator's setting."""
        return self._network.file.idle_seconds

    def obey(self, policy: AgentPolicy) -> None:
        """Take another policy, and end what it does not allow."""
        self._policy = policy
        self.review()

    def close(self) -> None:
        """End all that it has open: the agent is gone."""
        self.obey(AgentPolicy())
        self.upstreams.close()

    def is_due(self) -> bool:
        """Return True if a grant has ended since the last review, or the clock was set back to before its end."""
        return self._policy.next_end(self._clock()) != self._due

    def review(self) -> None:
        """End the connections that are no longer allowed, and forget the refusals of what is allowed now."""
        now = self._clock()
        self._due = self._policy.next_end(now)
        for entry in list(self.book.open):
            if not self._still(entry, now):
                entry.stop()
        self.book.forget_refusals(lambda host, port: self._denial(host, port) is None)

    def decide(self, host: str, port: int, kind: str = TUNNEL) -> str:
        """Return the canonical host if the agent may reach it at the port. Raise Denied, and count the refusal."""
        try:
            name = self.check(host, port)
        except Denied as denied:
            self.refuse(kind, host, port, denied)
            raise
        return name

    def check(self, host: str, port: int) -> str:
        """Decide, and count nothing."""
        try:
            name = canonical_host(host)
        except BadInput as error:
            raise Denied(Verdict.BAD_REQUEST, one_line(error.describe())) from error
        if denied := self._denial(name, port):
            raise denied
        return name

    async def dial(self, host: str, port: int, account: Account) -> Streams:
        """Decide, resolve, check the addresses, and connect plain HTTP to one that was checked. Raise Denied."""
        dialled = await self.connect(host, port, HTTP)
        account.private = dialled.private
        try:
            return await asyncio.open_connection(sock=dialled.connection)
        except BaseException:
            dialled.connection.close()
            raise

    async def connect(self, host: str, port: int, kind: str = TUNNEL) -> Dialled:
        """Decide, resolve, check the addresses, and connect to one that was checked. Raise Denied."""
        name = self.decide(host, port, kind)
        private = self._network.is_private(name, port)
        dialled = await self._connect(kind, name, port, private)
        denied = self._denial(name, port)  # the policy may have changed meanwhile
        if denied is None and dialled.private and not self._network.is_private(name, port):
            denied = Denied(Verdict.PRIVATE, _private(name, port, ["taken back"]))
        if denied is not None:
            dialled.connection.close()
            self.refuse(kind, name, port, denied)
            raise denied
        return dialled

    async def dial_upstream(self, host: str, port: int) -> socket.socket:
        """Connect to the upstream of a route, which the operator's file names: there is no decision. Raise Denied."""
        dialled = await self._connect(ROUTE, canonical_host(host), port, private=True)
        return dialled.connection

    def account(
        self, kind: str, host: str, port: int, route: str = "", *, private: bool = False
    ) -> AbstractContextManager[Entry]:
        """Open a connection in the books. A policy that no longer allows it cancels the task that entered this."""
        return self.book.account(kind, host, port, route=route, private=private)

    def refuse(self, kind: str, host: str, port: int, denied: Denied) -> None:
        """Count a refusal."""
        try:
            name = canonical_host(host)
        except BadInput:
            name = one_line(host)[:_TARGET_SHOWN]
        self.book.refuse(kind, name, port, denied)

    def route(self, name: str) -> tuple[Route, str]:
        """Return a route and its key. Raise Denied, and count it."""
        try:
            return self._route(name)
        except Denied as denied:
            self.book.refuse(ROUTE, one_line(name)[:_TARGET_SHOWN], 0, denied)
            raise

    def routes(self) -> Mapping[str, str]:
        """Return the kind of each route that the agent may use, by name."""
        routes = self._network.file.routes
        return {name: route.kind for name, route in routes.items() if self._may_use(route)}

    def git_upstreams(self) -> Mapping[str, str]:
        """Return where each route of kind `git` leads that the agent may use, by name."""
        routes = self._network.file.routes
        return {name: route.upstream for name, route in routes.items() if route.kind == "git" and self._may_use(route)}

    def meter(self, tokens: Metered) -> None:
        """Add what an answer of a model's API says that it cost."""
        self.book.meter(tokens)

    async def pace(self, count: int) -> None:
        """Count bytes that were carried, and wait until the agent's limit of bytes per second allows more."""
        await self.pacer.wait(count)

    def refused_after(self, number: int) -> tuple[list[tuple[str, int, int]], int]:
        """Return what was refused after a number, as hosts, ports and counts, and the number of the last one."""
        return self.book.refused_after(number)

    def _denial(self, host: str, port: int) -> Denied | None:
        target = authority(host, port)
        if not self._policy.allows(host, port, self._clock()):
            within = self._network.within_ceiling(host, port)
            then = " (ask with request_network)" if within else "-and-beyond-the-ceiling-of-the-operator"
            return Denied(Verdict.NOT_LISTED, f"{target}-is-not-on-the-list-of-{self._agent}{then}")
        if not self._network.within_ceiling(host, port):
            return Denied(Verdict.CEILING, f"{target}-is-beyond-the-ceiling-of-the-operator")
        return None

    def _still(self, entry: Entry, now: float) -> bool:
        """Return True if an open connection is still allowed."""
        if entry.route:
            route = self._network.file.routes.get(entry.route)
            return route is not None and self._may_use(route)
        if entry.private and not self._network.is_private(entry.host, entry.port):
            return False
        allowed = self._policy.allows(entry.host, entry.port, now)
        return allowed and self._network.within_ceiling(entry.host, entry.port)

    def _may_use(self, route: Route) -> bool:
        return route.name in self._policy.routes and route.serves(self._agent)

    def _route(self, name: str) -> tuple[Route, str]:
        route = self._network.file.routes.get(name)
        if route is None or not self._may_use(route):
            raise Denied(Verdict.NO_ROUTE, "there-is-no-such-key-for-this-agent")
        if self._policy.held:
            raise Denied(Verdict.HELD, one_line(self._policy.held))
        return route, self._keys.key(route)

    async def _connect(self, kind: str, name: str, port: int, private: bool) -> Dialled:
        try:
            async with asyncio.timeout(DIAL_SECONDS), self._dials:
                return await self._reach(name, port, private)
        except TimeoutError as error:
            denied = Denied(Verdict.UNREACHABLE, f"{authority(name, port)}-did-not-answer-within-{DIAL_SECONDS:.0f}-s")
            self.book.refuse(kind, name, port, denied)
            raise denied from error
        except Denied as denied:
            self.book.refuse(kind, name, port, denied)
            raise

    async def _reach(self, name: str, port: int, private: bool) -> Dialled:
        address = self._network.file.hosts.get(name)
        found = [address] if address is not None else await self._resolver.addresses(name, port)
        reasons = {each: addresses.refusal(each, port, private=private) for each in found}
        fine = [each for each, reason in reasons.items() if not reason]
        if not fine:
            raise Denied(Verdict.PRIVATE, _private(name, port, sorted(set(reasons.values()))))
        try:
            connection = await connect(fine, port)
        except OSError as error:
            raise Denied(Verdict.UNREACHABLE, f"{authority(name, port)}-does-not-answer: {_reason(error)}") from error
        return Dialled(name, connection, private and bool(_refusal_of_peer(connection)))

    def _bytes_per_second(self) -> int | None:
        rates = [rate for rate in (self._policy.bytes_per_second, self._network.file.bytes_per_second) if rate]
        return min(rates, default=None)


def _refusal_of_peer(connection: socket.socket) -> str:
    """Return why the other end would be refused if the operator's file did not name it."""
    try:
        address, port = connection.getpeername()[:2]
    except OSError:
        return "gone"
    return addresses.refusal(address, port, private=False)


def _reason(error: OSError) -> str:
    return "no reason is known" if error.errno is None else os.strerror(error.errno)


def _private(name: str, port: int, kinds: list[str]) -> str:
    what = "is" if is_address(name) else "resolves-to"
    there = authority(name, port)
    return f"{there}-{what}-an-address-of-kind-{'-or-'.join(kinds)} (the operator may name it in `private`)"
