"""One POST over HTTP, in a thread of its own: the standard library's client blocks, also while it looks up a name.

Nothing is followed: a redirect is an answer like any other. The answer is read up to a limit. Errors show no part of
the address.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

from meta.errors import TransientError
from reconciler.attention.target import Address

ANSWER_BYTES = 1024
"""Bytes of an answer's body that are read, at most."""
DEADLINE = 10.0
"""Seconds that one request may take."""
_BOTH_WAYS = 2
"""SHUT_RDWR."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server: its status, and the beginning of its body."""

    status: int
    body: bytes


class Poster:
    """Posts one request at a time."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._ended = asyncio.Event()
        self._ended.set()

    async def post(self, address: Address, body: bytes) -> Answer:
        """Post JSON and return the answer. Raise TransientError if there is none within the deadline."""
        await self._until_free()
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        answer: asyncio.Future[Answer] = loop.create_future()
        exchange = _Exchange(address, body, self._deadline)

        def settle(result: Answer | TransientError) -> None:
            ended.set()
            if answer.done():
                return
            if isinstance(result, Answer):
                answer.set_result(result)
            else:
                answer.set_exception(result)

        def work() -> None:
            result = exchange.run()
            with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
                loop.call_soon_threadsafe(settle, result)

        self._ended = ended
        threading.Thread(target=work, name="notify", daemon=True).start()
        try:
            async with asyncio.timeout(self._deadline):
                return await answer
        except TimeoutError as error:
            if exchange.head is not None:  # it took the notification: a second one would be too many
                return exchange.head
            raise _no_answer(self._deadline) from error
        finally:
            exchange.abort()

    async def _until_free(self) -> None:
        """Wait for the thread of the request before. It may outlive its deadline only while it looks up a name."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._ended.wait()
        except TimeoutError as error:
            hint = "is the name server of this host reachable?"
            raise TransientError("the request before has not ended yet", hint) from error


class _Exchange:
    """One request and its answer, in a thread. `abort` ends it from another one.

    `head` is the answer without its body, as soon as there is one.
    """

    def __init__(self, address: Address, body: bytes, timeout: float) -> None:
        self._address = address
        self._body = body
        self._timeout = timeout
        self._shutdown: Callable[[int], None] | None = None
        self._aborted = False
        self.head: Answer | None = None

    def run(self) -> Answer | TransientError:
        """Return the answer, or the error that says why there is none."""
        try:
            return self._exchange()
        except TimeoutError:  # that of the socket, which may be first
            return self.head or _no_answer(self._timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return self.head or _explain(error)

    def _exchange(self) -> Answer:
        where, connection = self._address, self._connection()
        connection.connect()
        try:
            self._shutdown = connection.sock.shutdown
            if self._aborted:
                raise TimeoutError("it was given up while it connected")
            headers = {**where.headers, "Content-Type": "application/json", "User-Agent": "hive", "Connection": "close"}
            connection.request("POST", where.path, self._body, headers)
            with connection.getresponse() as response:
                self.head = Answer(response.status, b"")
                return Answer(response.status, response.read(ANSWER_BYTES))
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        where = self._address
        if not where.secure:
            return http.client.HTTPConnection(where.host, where.port or 80, timeout=self._timeout)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(where.host, where.port or 443, timeout=self._timeout, context=context)

    def abort(self) -> None:
        """End a connection that still waits for bytes, and make none any more."""
        self._aborted = True
        if self._shutdown is not None:
            with contextlib.suppress(OSError):
                self._shutdown(_BOTH_WAYS)


def _no_answer(seconds: float) -> TransientError:
    return TransientError(f"no answer within {seconds:g} s", "is the server reachable?")


def _explain(error: Exception) -> TransientError:
    """Return an error for people. The texts of HTTPException and ValueError may have parts of the address."""
    match error:
        case ssl.SSLError():
            return TransientError(f"TLS failed: {error.reason or type(error).__name__}", "look at its certificate")
        case OSError():
            return TransientError(f"no connection: {error.strerror or type(error).__name__}", "is it reachable?")
        case _:
            return TransientError(f"the answer is not one of HTTP ({type(error).__name__})", "is it the right port?")
