"""One request and its answer, between an agent and an upstream: streamed both ways, no faster than each side reads.

An agent that goes away ends the upstream's work. A model may think for many minutes without a byte: a request that is
cut off is paid twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import h11

from meta.network.verdict import Verdict
from reconciler.egress import headers
from reconciler.egress.client import CHUNK, HEAD_LIMIT, Client, Gone
from reconciler.egress.pool import Upstream
from reconciler.egress.ports import Account, Denied, Gate
from reconciler.egress.share import EVENTS

RESEND_LIMIT = 4 * 2**20
"""Bytes of one body that are kept to be sent again, while a kept connection may turn out to be dead."""

PIECE = 16 * 1024
"""Bytes that are read at once of a head, and of a body in chunks."""
EMPTY_LINES = 512
"""Lines of an answer without a byte of its body among them: of its head, or behind its last chunk."""

_Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]
Connect = Callable[[bool], Awaitable[Upstream]]
"""Return a connection; with True a new one. Raise Denied."""


class Listener(Protocol):
    """Reads along with an answer, after its bytes went on."""

    def begin(self, answer: h11.Response) -> None:
        """Note the head."""

    def feed(self, data: bytes) -> None:
        """Note bytes of the body."""


class Silent:
    """Listens to nothing."""

    def begin(self, answer: h11.Response) -> None:
        """Do nothing."""

    def feed(self, data: bytes) -> None:
        """Do nothing."""


class _Stale(Exception):
    """A kept connection was dead: nothing of an answer came."""


class _Broken(Exception):
    """The upstream ended before the end of its answer."""


class Exchange:
    """`dropped` are headers of answers that the agent does not get."""

    def __init__(
        self,
        client: Client,
        gate: Gate,
        account: Account,
        listener: Listener | None = None,
        dropped: frozenset[bytes] = frozenset(),
    ) -> None:
        self._client = client
        self._gate = gate
        self._account = account
        self._listener = listener or Silent()
        self._dropped = dropped
        self._progress = 0.0
        self._body: list[bytes] | None = []
        """What was sent of the body, to be sent again; None once it is too long for that."""
        self._kept = 0
        self._has_whole_body = False
        self._has_begun = False
        self._most = PIECE
        self._lines = 0
        """Lines since the last byte of the answer's body."""
        self._is_switched = False

    async def run(self, request: h11.Request, connect: Connect) -> Upstream | None:
        """Send the request, and its answer back. Return the connection if it can carry another request.

        Raise Denied if there is no answer, and Gone if the agent is gone, or the answer broke off.
        """
        upstream = await connect(False)
        try:
            return await self._once(request, upstream)
        except _Stale:
            return await self._once(request, await connect(True))
        finally:
            self._forget()

    async def _once(self, request: h11.Request, upstream: Upstream) -> Upstream | None:
        """Try one connection. Unless it is returned, it is cut off."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        is_clean = False
        try:
            await self._both_ways(request, upstream, http)
            is_clean = http.our_state is h11.DONE and http.their_state is h11.DONE and not http.trailing_data[0]
        except _Broken as error:
            if self._has_begun:
                raise Gone from error
            if upstream.kept and self._body is not None:
                raise _Stale from error
            raise Denied(Verdict.UNREACHABLE, f"no-answer-from-the-upstream ({error})") from error
        finally:
            if not is_clean:
                upstream.abort()
        return upstream if is_clean else None

    async def _both_ways(self, request: h11.Request, upstream: Upstream, http: h11.Connection) -> None:
        """Send the request while the answer may begin already."""
        loop = asyncio.get_running_loop()
        self._progress = loop.time()
        asking = asyncio.ensure_future(self._ask(request, upstream, http))
        answering = asyncio.ensure_future(self._answer(upstream, http))
        waiting = {asking, answering}
        try:
            while not answering.done():
                rest = self._progress + self._gate.idle_seconds - loop.time()
                if rest <= 0:
                    self._account.finish("idle")
                    raise self._idle_end()
                done, _ = await asyncio.wait(waiting, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
                if asking in done:
                    waiting.discard(asking)
                    if not answering.done():
                        asking.result()
            await answering
        except Gone:
            self._account.finish("closed")
            raise
        finally:
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
        if self._is_switched:
            await self._carry(upstream, http)

    def _idle_end(self) -> Exception:
        if self._has_begun:
            return Gone()
        return Denied(Verdict.UNREACHABLE, f"no-answer-from-the-upstream (in {self._gate.idle_seconds:g} s)")

    async def _ask(self, request: h11.Request, upstream: Upstream, http: h11.Connection) -> None:
        """Send head and body, then watch the agent. Return early if the upstream takes no more."""
        client = self._client
        if client.http.they_are_waiting_for_100_continue:
            await client.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        try:
            ahead = list(self._body or ())
            if not ahead and not self._has_whole_body and (come := client.ready()):
                self._keep(come, upstream)
                ahead.append(come)
            # head and body in one packet, if they came in one: a model's API then begins sooner
            parts = (http.send(request), *(http.send(h11.Data(data=piece)) for piece in ahead))
            await self._push(upstream, b"".join(part or b"" for part in parts))
            while not self._has_whole_body:
                data = await client.body()
                if data is None:
                    self._has_whole_body = True
                    break
                self._keep(data, upstream)
                await self._push(upstream, http.send(h11.Data(data=data)))
            await self._push(upstream, http.send(h11.EndOfMessage()))
        except OSError:
            return  # it may have answered all the same
        await client.watch()

    def _keep(self, data: bytes, upstream: Upstream) -> None:
        """Keep what may have to be sent again: on a new connection nothing does."""
        if self._body is None:
            return
        is_short = upstream.kept and not self._has_begun and self._kept + len(data) <= RESEND_LIMIT
        if is_short and self._gate.upstreams.keep(len(data)):
            self._kept += len(data)
            self._body.append(data)
        else:
            self._forget()

    def _forget(self) -> None:
        """Keep nothing of the body any longer."""
        self._body = None
        self._gate.upstreams.release(self._kept)
        self._kept = 0

    async def _push(self, upstream: Upstream, data: bytes | None) -> None:
        """Write to the upstream, at the agent's pace: before the bytes, so that their end is never waited for."""
        if data:
            await self._gate.pace(len(data))
            upstream.writer.write(data)
            await upstream.writer.drain()
            self._account.sent += len(data)
            self._progress = asyncio.get_running_loop().time()

    async def _pull(self, data: bytes) -> None:
        """Write to the agent, and wait for its pace after."""
        await self._client.write(data)
        self._account.received += len(data)
        self._progress = asyncio.get_running_loop().time()
        await self._gate.pace(len(data))

    async def _answer(self, upstream: Upstream, http: h11.Connection) -> None:
        """Send the answer to the agent as it comes: what was read at once is written at once, and read along after."""
        last: _Event = h11.NEED_DATA
        while not isinstance(last, h11.EndOfMessage) and not self._is_switched:
            if last is h11.NEED_DATA:
                try:
                    data = await upstream.reader.read(self._most)
                    http.receive_data(data)
                except (OSError, RuntimeError) as error:
                    raise _Broken("it broke off") from error
                self._lines += data.count(b"\n")
            await self._gate.share.turn()
            events = self._parse(http)
            last = events[-1]
            written, body = self._written(events)
            if written:
                await self._pull(written)
            if body:
                self._listener.feed(body)

    def _parse(self, http: h11.Connection) -> list[_Event]:
        """Return what h11 has, as far as one step may go. Only the last event is an end, or that it needs more."""
        events: list[_Event] = []
        try:
            while len(events) < EVENTS:
                events.append(event := http.next_event())
                self._has_begun = self._has_begun or isinstance(event, h11.Response)
                if not isinstance(event, (h11.Data, h11.Response, h11.InformationalResponse)) or _is_switch(event):
                    break
        except h11.RemoteProtocolError as error:
            raise _Broken("no clean HTTP, or it ended") from error
        finally:
            self._gate.share.spend(len(events))
        if isinstance(events[-1], h11.ConnectionClosed) or events[-1] is h11.PAUSED:
            raise _Broken("it ended")
        if any(isinstance(event, h11.Data) for event in events):
            self._lines = 0
        if self._lines > EMPTY_LINES:
            raise _Broken("too many headers")
        return events

    def _written(self, events: Sequence[_Event]) -> tuple[bytes, bytes]:
        """Return what the agent gets of these, and the body in it: in one chunk, if it is in chunks."""
        written: list[bytes] = []
        send = self._client.http.send
        body = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
        try:
            for event in events:
                if isinstance(event, h11.InformationalResponse) and _is_switch(event):
                    written.append(self._switch(event))
                elif isinstance(event, h11.Response):
                    written.append(self._begin(event))
            if body:
                written.append(send(h11.Data(data=body)) or b"")
            if isinstance(events[-1], h11.EndOfMessage):
                written.append(send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError as error:
            raise _Broken("an answer that does not fit the request") from error
        return b"".join(written), body

    def _begin(self, answer: h11.Response) -> bytes:
        """Return the head of the answer."""
        self._gate.share.spend(len(answer.headers))
        self._most = PIECE if any(name == b"transfer-encoding" for name, _ in answer.headers) else CHUNK
        self._listener.begin(answer)
        return self._client.http.send(headers.response(answer, self._dropped)) or b""

    def _switch(self, event: h11.InformationalResponse) -> bytes:
        """Return the head of an answer after which both sides speak something else."""
        self._has_begun = self._is_switched = True
        pairs = headers.kept(event.headers, headers.HOP_BY_HOP | {b"content-length"})
        pairs += [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
        head = h11.InformationalResponse(status_code=101, headers=pairs, reason=event.reason)
        return self._client.http.send(head) or b""

    async def _carry(self, upstream: Upstream, http: h11.Connection) -> None:
        """Carry bytes both ways after a switch, until one side ends."""
        try:
            await self._push(upstream, self._client.take_rest())
            if behind := http.trailing_data[0]:
                await self._pull(behind)
            ways = [asyncio.ensure_future(way) for way in (self._up(upstream), self._down(upstream))]
            try:
                await self._wait_for_end(ways)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError as error:
            raise Gone from error

    async def _wait_for_end(self, ways: Sequence[asyncio.Future[None]]) -> None:
        loop = asyncio.get_running_loop()
        while (rest := self._progress + self._gate.idle_seconds - loop.time()) > 0:
            done, _ = await asyncio.wait(ways, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
        self._account.finish("idle")

    async def _up(self, upstream: Upstream) -> None:
        while data := await self._client.reader.read(CHUNK):
            await self._push(upstream, data)

    async def _down(self, upstream: Upstream) -> None:
        while data := await upstream.reader.read(CHUNK):
            await self._pull(data)


def _is_switch(event: _Event) -> bool:
    """Return True if both sides speak something else after it."""
    return isinstance(event, h11.InformationalResponse) and event.status_code == 101
