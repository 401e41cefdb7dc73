"""The harness's end of the link (meta.wire.link): says who it is, reports turn states, answers probes, hears drains.

It reconnects for ever. A drain ends with its connection: a daemon that still wants it asks again after the hello.
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import ValidationError

from harness.connect import Backoff, connect
from harness.environment import Place
from harness.gate import Gate
from meta.wire.codec import encode
from meta.wire.link import DOWN, Closed, Drain, Hello, Probe, Resume, State, TurnState

log = logging.getLogger(__name__)


class Link:
    """One long connection to `harness.sock`."""

    def __init__(self, place: Place, gate: Gate) -> None:
        self._place = place
        self._gate = gate
        self._writer: asyncio.StreamWriter | None = None
        self._heard = False
        self.acknowledged = asyncio.Event()
        """Set once hive has said anything, which it does after a hello."""

    async def run(self) -> None:
        """Serve the link until cancelled."""
        backoff = Backoff()
        while True:
            reader, self._writer = await connect(self._place.link, backoff)
            self._heard = False
            try:
                await self._session(reader)
                log.info("the link to hive ended")
            except (OSError, ValueError) as error:
                log.info("the link to hive broke: %s", error)
            finally:
                self._gate.listen(None)
                self._gate.resume()
                self._writer.close()
            if self._heard:
                backoff.reset()
            await backoff.wait()

    async def _session(self, reader: asyncio.StreamReader) -> None:
        place = self._place
        self._say(Hello(generation=place.generation, nonce=place.nonce, state=self._gate.state))
        self._gate.listen(lambda state: self._say(State(state=state)))
        log.info("hello to hive as generation %s", place.generation or "(none)")
        while line := await reader.readline():
            try:
                order = DOWN.validate_json(line)
                if isinstance(order, Closed):
                    log.warning("hive closes the link: %s", order.reason)
                    return
                self._heard = True
                self.acknowledged.set()
                self._obey(order)
            except ValidationError as error:
                why = error.errors(include_url=False, include_input=False)[0]["msg"]
                log.warning("hive sent a line that is not understood: %s", why)

    def _obey(self, order: Drain | Resume | Probe) -> None:
        if isinstance(order, Probe):
            self._say(State(state=self._gate.state, probe=order.probe))
        elif isinstance(order, Drain):
            log.info("draining")
            self._gate.drain()
            if self._gate.state is TurnState.DRAINED:
                self._say(State(state=TurnState.DRAINED))
        else:
            log.info("resuming")
            self._gate.resume()

    def _say(self, line: Hello | State) -> None:
        """Never waits: the lines are short and few, and an answer to a probe must not stand behind anything."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(line) + b"\n")
