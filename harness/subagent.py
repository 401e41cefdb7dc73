"""`hive-harness pod`: a sub-agent, a process of its own beside the harness of its agent.

It has a conversation, a socket and a scope of its own, and no inbox of hive: its runs come over its socket, and what it
says its parent reads. Until it has the right to write that was reserved for it, its first run waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.hold import PauseMemory
from harness.pods import Above, open_pods
from harness.subagents.agents import Agents
from harness.subagents.leases.table import check_name
from harness.subagents.peer import ask
from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput, HiveError, Refused
from meta.wire import pod
from meta.wire.agent import MessageResponse
from meta.wire.link import About, UpLine

log = logging.getLogger(__name__)

REPORTS = 200
"""Reports to the parent that wait, at most: they are news, and `list_pods` has the truth."""
REPORT_SECONDS = 5.0
LOOK_SECONDS = 0.05
"""Seconds between two looks whether the scope is there."""
LAST_SECONDS = 5.0
"""Seconds that the last report may take before the end."""


class NoHive:
    """The link of a sub-agent: hive knows it by its parent."""

    by_id = False

    def send(self, line: UpLine) -> None:
        """Drop a line for hive."""

    def about(self, about: About) -> None:
        """Drop what hive would show of the runtime."""

    def handle(self, kind: type[Any], handler: Callable[[Any], None]) -> None:
        """Wait for no line of hive."""

    async def release(self, turn: int, only: tuple[int, ...] | None = None) -> bool:
        """Return True: nothing of hive is in flight."""
        return True


class NoInbox:
    """The inbox of a sub-agent: nobody can send it a message."""

    uncertain = False

    async def recv(self) -> MessageResponse | None:
        """Wait for ever."""
        await asyncio.Event().wait()
        return None

    async def look(self) -> MessageResponse | None:
        """Return that nothing waits."""
        return None

    async def unread(self) -> int | None:
        """Return that nothing waits."""
        return 0

    async def ack(self) -> None:
        """Do nothing."""

    async def give_back(self) -> None:
        """Do nothing."""

    def released(self) -> None:
        """Do nothing."""

    async def send(self, to: str, body: str) -> None:
        """Refuse."""
        await self.call(None)

    async def call(self, request: object) -> Any:
        """Refuse: a sub-agent is nobody to hive."""
        raise Refused("a sub-agent sends no messages", "say it: the pod above reads what you say")

    def close(self) -> None:
        """Do nothing."""


class Reporter:
    """Sends reports to the pod above, in order. One that it does not take is dropped."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._waiting: deque[pod.PodEvent] = deque(maxlen=REPORTS)
        self._came = asyncio.Event()

    def report(self, event: pod.PodEvent) -> None:
        """Take a report. It neither waits nor raises."""
        self._waiting.append(event)
        self._came.set()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send what waits."""
        while self._waiting:
            event = self._waiting.popleft()
            try:
                await ask(self._socket, pod.PodEventMethod(params=event), REPORT_SECONDS)
            except HiveError as error:
                log.info("the pod above does not take %s: %s", event.kind, error.summary)


def read_above(variables: Mapping[str, str], reporter: Reporter, ended: asyncio.Event) -> Above:
    """Return what is above this sub-agent. Raise BadInput if a variable is missing."""
    names = ("HIVE_POD", "HIVE_POD_LEASES")
    missing = [name for name in names if not variables.get(name)]
    if missing:
        raise BadInput(f"{', '.join(missing)} is not set", "the harness of an agent starts its sub-agents")
    name = check_name(variables["HIVE_POD"])
    return Above(
        name, f"{name}.sock", Path(variables["HIVE_POD_LEASES"]), None, ended.set, reporter.report, lambda _: None
    )


async def serve_subagent(environment: Environment, settings: AgentSettings) -> int:
    """Serve a sub-agent until SIGTERM, or until a client shuts it down; return the exit code."""
    callback = os.environ.get("HIVE_POD_CALLBACK")
    if not callback:
        raise BadInput("HIVE_POD_CALLBACK is not set", "the harness of an agent starts its sub-agents")
    reporter, ended = Reporter(Path(callback)), asyncio.Event()
    above = read_above(os.environ, reporter, ended)
    environment = replace(environment, events_db=environment.kept / "hyperhive-events.sqlite")
    store = await asyncio.to_thread(EventStore, environment.events)
    bus, gate = Bus(store), Gate(PauseMemory(environment.kept))
    reports = asyncio.create_task(reporter.run())
    work = asyncio.create_task(_serve(environment, settings, gate, bus, store, above))
    stop = asyncio.create_task(ended.wait())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await reporter.flush()
    finally:
        for task in (reports, stop):
            task.cancel()
        await asyncio.gather(reports, stop, return_exceptions=True)
        store.close()
    return 0


async def _serve(
    environment: Environment, settings: AgentSettings, gate: Gate, bus: Bus, store: EventStore, above: Above
) -> None:
    async with open_pods(environment, settings, gate, bus, store, above) as own:
        if own.agents is None:
            raise AssertionError("a sub-agent has a place in the table of scopes")
        agents = own.agents
        scoped = asyncio.create_task(_await_scope(agents, gate))
        from harness.assembly import BeforeTurns, drive  # its parent waits for the socket, which is open now

        def why() -> str:
            return "" if agents.held else "it waits for its scope: its parent's turn has to end first"

        try:
            await drive(environment, settings, gate, NoHive(), bus, own, NoInbox, lambda way: BeforeTurns(way, why))
        finally:
            scoped.cancel()
            await asyncio.gather(scoped, return_exceptions=True)


async def _await_scope(agents: Agents, gate: Gate) -> None:
    """Look whether the scope is there, until it is."""
    while not agents.held:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await agents.refresh()
        except HiveError as error:
            log.warning("whether the scope is there cannot be seen: %s", error.summary)
    gate.poke()
