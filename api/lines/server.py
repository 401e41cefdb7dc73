"""Lines over unix sockets: one JSON object per line, many per connection. No connection blocks another.

LineServer       accepts the connections of one socket and gives each to a session
answer_lines     the loop of a protocol with requests and responses
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from api.lines.connection import Disconnected, LineConnection
from api.sockets.budget import Share
from api.sockets.listener import Bound
from api.sockets.server import Server
from meta.errors import HiveError, Refused

log = logging.getLogger(__name__)

CONNECTIONS = 256
"""The limit of connections to one socket, unless the socket has a limit of its own."""

Handler = Callable[[bytes], Awaitable[bytes]]


async def answer_lines(
    connection: LineConnection,
    handle: Handler,
    fault: Callable[[HiveError], bytes],
    written: Callable[[bool], Awaitable[None]] | None = None,
) -> None:
    """Answer each line with one line, in order. An expected error becomes `fault(error)`; the connection stays open.

    A request is carried out even if the peer disconnects before its answer. After each answer `written` is called: with
    True if the answer was written to the connection, else with False.
    """
    async for line in connection.lines():
        sent = False
        try:
            answer = (
                await _handle(line, handle, fault, connection.uid) if isinstance(line, bytes) else fault(line.fault())
            )
            await connection.send(answer)
            sent = True
        except (Disconnected, OSError) as error:
            log.debug("an answer was not delivered: %s", error)
        finally:
            if written is not None:
                await written(sent)


async def _handle(line: bytes, handle: Handler, fault: Callable[[HiveError], bytes], uid: int | None) -> bytes:
    try:
        return await handle(line)
    except HiveError as error:
        return fault(error)
    except Disconnected:
        raise
    except Exception:
        log.exception("a request on a socket raised an unexpected error", extra={"limited": f"lines of uid {uid}"})
        return fault(HiveError("hive failed with an internal error", "see the daemon's log"))


Session = Callable[[LineConnection], Awaitable[None]]


class LineServer:
    """One listening socket. `session` runs once per connection, and owns it until it returns.

    `admit` decides by the peer's uid. `fault` makes the line with the reason for a peer that is refused. At most
    `connections` are served at a time, because each needs a file descriptor of the daemon. `share` bounds the bytes
    that are kept for all of them.
    """

    def __init__(
        self,
        bound: Bound,
        session: Session,
        *,
        limit: int,
        fault: Callable[[HiveError], bytes],
        admit: Callable[[int | None], bool] = lambda _uid: True,
        connections: int = CONNECTIONS,
        share: Share | None = None,
    ) -> None:
        self._share = share
        self._limited = {"limited": str(bound.path)}
        self.bound = bound
        self._session = session
        self._limit = limit
        self._fault = fault
        self._admit = admit
        self._connections = connections
        self._open = 0
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start to accept connections."""
        self._server = Server(lambda: LineConnection(self._limit, self._accept, self._share))
        self._server.listen(self.bound.sock)

    def rebind(self, bound: Bound) -> None:
        """Listen on `bound` from now on, because the file of the socket before is gone. Open connections go on."""
        self.bound = bound
        if self._server is not None:
            self._server.listen(bound.sock)

    async def stop(self) -> None:
        """Accept no more, and end the connections. The file stays."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Stop, and remove the file."""
        await self.stop()
        self.bound.remove()

    def _accept(self, connection: LineConnection) -> None:
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: LineConnection) -> None:
        try:
            if self._open >= self._connections:
                message = f"too many connections to this socket, at most {self._connections}"
                await connection.send(self._fault(Refused(message, "close some first")))
            elif not self._admit(connection.uid):
                log.warning("refused uid %s on %s", connection.uid, self.bound.path, extra=self._limited)
                await connection.send(self._fault(Refused(f"uid {connection.uid} may not use this socket")))
            else:
                await self._serve(connection)
        except asyncio.CancelledError:
            connection.abort()
            raise
        except (OSError, TimeoutError) as error:
            log.debug("a connection to %s ended: %s", self.bound.path, error)
        except Exception:
            log.exception("a connection to %s raised an unexpected error", self.bound.path, extra=self._limited)
        finally:
            await connection.close()

    async def _serve(self, connection: LineConnection) -> None:
        self._open += 1
        try:
            await self._session(connection)
        finally:
            self._open -= 1
