"""The harness's end of the link (meta.wire.link): send the hello and turn states, answer probes, obey drains.

It also ends a turn if hive asks for that. It reconnects for ever. A drain ends with its connection. A daemon that
still needs the drain repeats it after the hello.
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import ValidationError

from harness.connect import Backoff, connect
from harness.environment import Environment
from harness.gate import Gate
from meta.wire.codec import encode
from meta.wire.link import DOWN, Cancel, Closed, DownLine, Drain, Hello, Probe, Resume, State, TurnState

log = logging.getLogger(__name__)


class Link:
    """The connection to `harness.sock`."""

    def __init__(self, environment: Environment, gate: Gate) -> None:
        self._environment = environment
        self._gate = gate
        self._writer: asyncio.StreamWriter | None = None
        self._received = False
        self.acknowledged = asyncio.Event()
        """Set once hive has sent a line, which it does after a hello."""

    async def run(self) -> None:
        """Keep the link until cancelled."""
        backoff = Backoff()
        while True:
            reader, self._writer = await connect(self._environment.link, backoff)
            self._received = False
            try:
                await self._session(reader)
                log.info("the link to hive ended")
            except (OSError, ValueError) as error:
                log.info("the link to hive broke: %s", error)
            finally:
                self._gate.listen(None)
                self._gate.resume()
                self._writer.close()
            if self._received:
                backoff.reset()
            await backoff.wait()

    async def _session(self, reader: asyncio.StreamReader) -> None:
        environment = self._environment
        gate = self._gate
        self._send(
            Hello(
                generation=environment.generation,
                nonce=environment.nonce,
                state=gate.state,
                seconds=gate.seconds,
                turn=gate.number,
            )
        )
        gate.listen(lambda state: self._send(State(state=state, turn=gate.number)))
        log.info("hello to hive as generation %s", environment.generation or "(none)")
        while line := await reader.readline():
            try:
                order = DOWN.validate_json(line)
                if isinstance(order, Closed):
                    log.warning("hive closes the link: %s", order.reason)
                    return
                self._received = True
                self.acknowledged.set()
                self._handle(order)
            except ValidationError as error:
                why = error.errors(include_url=False, include_input=False)[0]["msg"]
                log.warning("ignoring a line of hive that does not parse: %s", why)

    def _handle(self, order: DownLine) -> None:
        if isinstance(order, Probe):
            self._send(State(state=self._gate.state, probe=order.probe, turn=self._gate.number))
        elif isinstance(order, Drain):
            log.info("draining")
            self._gate.drain()
            if self._gate.state is TurnState.DRAINED:
                self._send(State(state=TurnState.DRAINED, turn=self._gate.number))
        elif isinstance(order, Cancel):
            log.warning("hive ends the turn%s: it takes too long", "" if order.turn is None else f" {order.turn}")
            self._gate.cancel(order.turn)
        elif isinstance(order, Resume):
            log.info("resuming")
            self._gate.resume()

    def _send(self, line: Hello | State) -> None:
        """Write a line without waiting. Lines are short and few, and an answer to a probe must not be delayed."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(line) + b"\n")
