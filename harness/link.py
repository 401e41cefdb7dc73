"""The link with hive: who this is, what it is doing, and when it shall stop taking messages.

It reconnects for ever and says hello each time. A lost link ends a drain: a hive that still wants one asks again after
the hello, and one that was restarted has forgotten it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from harness.sockets import Backoff, connect
from meta.wire.link import DOWN, Drain, Hello, Probe, Resume, State, TurnState

log = logging.getLogger(__name__)

Fault = Literal["never-hello", "old-generation", "mute", "hello-then-exit", "flap"]
FAULT_EXIT = 1
_OLD_GENERATION = "0" * 20


@dataclass(frozen=True, slots=True)
class Identity:
    """What the container was launched with; the hello repeats it."""

    generation: str
    nonce: str


class Link:
    """One link. `opened` is set while hive knows this harness and does not drain it; `closed` is the opposite."""

    def __init__(self, path: Path, identity: Identity, fault: Fault | None = None) -> None:
        self._path = path
        self._identity = identity
        self._fault = fault
        self._backoff = Backoff()
        self._writer: asyncio.StreamWriter | None = None
        self._state = TurnState.IDLE
        self.draining = False
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.closed.set()

    @property
    def state(self) -> TurnState:
        """What the harness is doing."""
        return self._state

    def become(self, state: TurnState) -> None:
        """Change the state and tell hive. Not connected: the next hello says it."""
        if state is not self._state:
            self._state = state
            log.info("state %s", state.value)
            self._say(State(state=state))

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        if self._fault == "never-hello":
            log.warning("fault never-hello: it never connects")
            await asyncio.Event().wait()
        while True:
            try:
                await self._connection()
            except (OSError, ValueError) as error:
                log.debug("the link to hive: %s", error)
            await self._backoff.pause()

    async def _connection(self) -> None:
        """One connection, from hello to its end."""
        reader, writer = await connect(self._path)
        self._writer = writer
        try:
            self._hello()
            await writer.drain()
            log.info("hello, generation %s", self._identity.generation)
            if self._fault == "hello-then-exit":
                log.warning("fault hello-then-exit: exit %d", FAULT_EXIT)
                os._exit(FAULT_EXIT)
            if self._fault == "flap":
                self._backoff.reset()
                return
            self._admit()
            while line := await reader.readline():
                self._backoff.reset()
                self._obey(line)
                await writer.drain()
        finally:
            self._lost()
            writer.close()

    def _hello(self) -> None:
        generation = _OLD_GENERATION if self._fault == "old-generation" else self._identity.generation
        self._say(Hello(generation=generation, nonce=self._identity.nonce, state=self._state))

    def _obey(self, line: bytes) -> None:
        try:
            down = DOWN.validate_json(line)
        except ValidationError as error:
            log.warning("a line on the link is not understood: %s", error.errors()[0]["msg"])
            return
        match down:
            case Probe(probe=number):
                if self._fault != "mute":
                    self._say(State(state=self._state, probe=number))
            case Drain(deadline_seconds=seconds):
                log.info("drain within %g s", seconds)
                self.draining = True
                self._shut()
                if self._state is TurnState.DRAINED:
                    self._say(State(state=self._state))
            case Resume():
                log.info("resume")
                self.draining = False
                self._admit()

    def _say(self, line: Hello | State) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line.model_dump_json(exclude_none=True).encode() + b"\n")

    def _admit(self) -> None:
        self.closed.clear()
        self.opened.set()

    def _shut(self) -> None:
        self.opened.clear()
        self.closed.set()

    def _lost(self) -> None:
        self._writer = None
        self.draining = False
        self._shut()
        if self._state is TurnState.DRAINED:
            self._state = TurnState.IDLE
