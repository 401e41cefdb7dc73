"""Names to addresses, and a connection to one of them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

from meta.network.rule import is_address
from meta.network.verdict import Verdict
from reconciler.egress.limits import ADDRESS_HEAD_START, ADDRESSES_CHECKED, ADDRESSES_TRIED, RESOLVE_SECONDS
from reconciler.egress.places import Places
from reconciler.egress.ports import Denied

Lookup = Callable[[str, int], Sequence[str]]
"""Return the addresses of a name. Raise OSError or UnicodeError. It may take for ever."""


def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the host's resolver."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


class Resolver:
    """The resolver for one agent. It asks in threads of its own, as many at a time as `places` has for it.

    A thread that hangs cannot be ended. It holds one of this agent's places until it returns, and ends with the
    process.
    """

    def __init__(self, lookup: Lookup = system_lookup, places: Places | None = None) -> None:
        self._lookup = lookup
        self._places = places or Places()

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a canonical host, at most ADDRESSES_CHECKED. Raise Denied."""
        if is_address(host):
            return (host,)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                addresses = await self._ask(host, port)
        except TimeoutError as error:
            raise Denied(Verdict.UNRESOLVED, f"{host}-the-resolver-does-not-answer") from error
        except (OSError, UnicodeError) as error:
            raise Denied(Verdict.UNRESOLVED, f"{host}-has-no-address") from error
        if not addresses:
            raise Denied(Verdict.UNRESOLVED, f"{host}-has-no-address")
        return addresses[:ADDRESSES_CHECKED]

    async def _ask(self, host: str, port: int) -> Sequence[str]:
        await self._places.take(self)
        answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._start(host, port, answer)
        return await answer

    def _start(self, host: str, port: int, answer: asyncio.Future[Sequence[str]]) -> None:
        loop = asyncio.get_running_loop()

        def finish(addresses: Sequence[str], error: Exception | None) -> None:
            self._places.give(self)
            if answer.done():
                return
            if error is None:
                answer.set_result(addresses)
            else:
                answer.set_exception(error)

        def ask() -> None:
            addresses: Sequence[str] = ()
            error: Exception | None = None
            try:
                addresses = self._lookup(host, port)
            except (OSError, UnicodeError) as failure:
                error = failure
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, addresses, error)

        try:
            threading.Thread(target=ask, name="resolver", daemon=True).start()
        except RuntimeError:  # the host has no thread left
            self._places.give(self)
            answer.set_exception(OSError("no thread"))


async def connect(addresses: Sequence[str], port: int) -> socket.socket:
    """Return a connection to the first address that answers; each gets a head start over the next. Raise OSError."""
    chosen = list(addresses[:ADDRESSES_TRIED])
    if len(chosen) == 1:
        return await _connect(chosen[0], port)
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        for address in chosen:
            attempts.append(asyncio.create_task(_connect(address, port)))
            if winner := await _first(attempts, ADDRESS_HEAD_START):
                break
        winner = winner or await _first(attempts, None) or attempts[0]
        return await winner  # if all failed, the first one's error
    finally:
        for attempt in attempts:
            if attempt is not winner:
                _drop(attempt)


async def _first(
    attempts: list[asyncio.Task[socket.socket]], seconds: float | None
) -> asyncio.Task[socket.socket] | None:
    """Return the first attempt that succeeds, None if all failed or the time is over."""
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    while True:
        for attempt in attempts:
            if attempt.done() and attempt.exception() is None:
                return attempt
        waiting = [attempt for attempt in attempts if not attempt.done()]
        left = None if deadline is None else deadline - asyncio.get_running_loop().time()
        if not waiting or (left is not None and left <= 0):
            return None
        await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)


def _drop(attempt: asyncio.Task[socket.socket]) -> None:
    """End an attempt, also one that succeeded."""
    if not attempt.done():
        attempt.cancel()
    elif not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection
