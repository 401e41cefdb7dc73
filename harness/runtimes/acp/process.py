"""One running agent: its child, its requests, and whose the lines are that it writes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Sequence
from typing import Any

from harness.child import Child, Line, start_child
from harness.runtimes.acp.launch import Launch
from harness.runtimes.acp.peer import Peer
from harness.runtimes.acp.permission import decide
from harness.runtimes.acp.table import Preset
from harness.runtimes.acp.updates import Reader
from harness.runtimes.base import RuntimeSpec, Sink
from meta.agent_toml.settings import Permissions
from meta.text import one_line
from meta.wire.live import AnyItem, Notice, Unknown

Json = dict[str, Any]

_EARLY = 256
"""Lines between turns that are kept for the next turn."""

_EARLY_BYTES = 2**20
"""Bytes of them."""

_EXIT_SECONDS = 2.0
"""Seconds between the end of stdout and the end of the process, or the other way round."""


class Process:
    """A running agent. Its lines go to the turn that `begin` named; those between turns wait for the next one."""

    def __init__(self, child: Child, preset: Preset, permissions: Permissions) -> None:
        self.peer = Peer(child.write, self)
        self.session: str | None = None
        self.cost: float | None = None
        self.cancelled = False
        self.progress_at = 0.0
        self.capabilities: Json = {}
        self._child = child
        self._preset = preset
        self._permissions = permissions
        self._turn: tuple[Reader, Sink] | None = None
        self._items: list[AnyItem] = []
        self._piece = False
        self._early: deque[tuple[Sequence[AnyItem], object, int]] = deque()
        self._early_bytes = 0
        self._lost = 0
        self._replayed: int | None = None
        self._task = asyncio.create_task(self._follow())

    @property
    def running(self) -> bool:
        """Return True until the agent ends or closes its output."""
        return not self._task.done()

    @property
    def why(self) -> str:
        """Return the end of what it wrote to stderr, on one line."""
        return one_line(self._child.stderr[-400:])

    def begin(self, reader: Reader, sink: Sink) -> None:
        """Give the lines from now on to a turn, and first those that came since the last one."""
        self._turn = reader, sink
        self.cancelled = False
        self.progress_at = asyncio.get_running_loop().time()
        if self._lost:
            sink.note(f"{self._lost} lines of the agent between turns were not kept")
        for items, line, _ in self._early:
            sink.line(items, line)
        self._early.clear()
        self._early_bytes = self._lost = 0

    def finish(self) -> None:
        """End the turn. The texts that came in pieces are shown as wholes."""
        if self._turn is not None:
            reader, sink = self._turn
            items = reader.flush()
            if items:
                sink.line(items, None)
            self.cost = reader.cost if reader.cost is not None else self.cost
        self._turn = None

    def replay(self) -> None:
        """Count the updates from now on instead of showing them: they are of an earlier turn."""
        self._replayed = 0

    def replayed(self) -> int:
        """Return how many updates were replayed, and show those that follow."""
        count, self._replayed = self._replayed or 0, None
        return count

    @property
    def replays(self) -> int:
        """Return how many updates were replayed until now."""
        return self._replayed or 0

    def cancel(self) -> None:
        """Ask the agent to end its turn."""
        self.cancelled = True
        if self.session is not None:
            self.peer.notify("session/cancel", {"sessionId": self.session})

    async def end(self) -> None:
        """End the agent with every descendant."""
        seconds = self._preset.end_seconds
        await self._child.end(((signal.SIGTERM, seconds),) if seconds else ())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.peer.close("the agent was ended")

    def notified(self, method: str, params: Json) -> None:
        """Take a notification of the agent."""
        if method != "session/update":
            # "$/..." may be ignored by the rules of JSON-RPC, "_..." is an extension of the agent
            self._items = [] if method.startswith(("$/", "_")) else [Unknown(name=method[:64])]
        elif self._replayed is not None:
            self._replayed += 1
        elif self._turn is not None and params.get("sessionId") in (self.session, None):
            reader = self._turn[0]
            before = reader.progress
            self._items = reader.read(params.get("update"))
            self._piece = reader.piece
            if reader.progress != before:
                self.progress_at = asyncio.get_running_loop().time()

    def asked(self, method: str, params: Json) -> Json | None:
        """Answer a request of the agent. It is told that the client has no files and no terminals."""
        if method != "session/request_permission":
            self._items = [Unknown(name=method[:64])]
            return None
        decision = decide(params, self._permissions, self._preset, cancelled=self.cancelled or self._turn is None)
        if self._turn is not None:
            self._items = self._turn[0].ask(params.get("toolCall"))
        self._items.append(Notice(level="info" if decision.allowed else "warn", text=one_line(decision.text)))
        return decision.answer

    async def _follow(self) -> None:
        lines = asyncio.create_task(self._read())
        exit_ = asyncio.create_task(self._child.wait())
        try:
            await asyncio.wait({lines, exit_}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({lines, exit_}, timeout=_EXIT_SECONDS, return_when=asyncio.ALL_COMPLETED)
            how = "closed its output" if not exit_.done() else f"ended with exit code {exit_.result()}"
            self.peer.close(f"the agent {how}" + (f": {self.why}" if self.why else ""))
        finally:
            for task in (lines, exit_):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(lines, exit_, return_exceptions=True)

    async def _read(self) -> None:
        async for line in self._child.lines():
            self._take(line)

    def _take(self, line: Line) -> None:
        if not line.data.strip() and not line.dropped:
            return
        self._items, self._piece = [], False
        if line.dropped:
            value: object = line.data.decode("utf-8", "replace")
            self._items = [Unknown(name=f"line of {len(line.data) + line.dropped} bytes")]
        else:
            replays = self._replayed
            parsed = self.peer.feed(line.data)
            value = parsed.value
            if parsed.what in ("text", "other", "stray"):
                self._items = [Unknown(name=parsed.what)]
            elif self._replayed != replays:
                return
        self._show(self._items, value, len(line.data))

    def _show(self, items: Sequence[AnyItem], value: object, size: int) -> None:
        if self._turn is not None:
            self._turn[1].line(items, value, repeated=self._piece)
            return
        self._early.append((items, value, size))
        self._early_bytes += size
        while len(self._early) > _EARLY or self._early_bytes > _EARLY_BYTES:
            self._early_bytes -= self._early.popleft()[2]
            self._lost += 1


async def start_process(launch: Launch, preset: Preset, spec: RuntimeSpec) -> Process:
    """Start an agent. Raise HiveError if it cannot be started."""
    child = await start_child(launch.argv, launch.env, spec.enclosure.work, launch.bounds)
    return Process(child, preset, spec.settings.permissions)


async def run_to_end(argv: Sequence[str], spec: RuntimeSpec, seconds: float) -> str:
    """Return the first line of a command, "" if none comes in `seconds`. Raise HiveError if it is missing."""
    child = await start_child(argv, spec.enclosure.env, spec.enclosure.work, spec.enclosure.bounds())
    try:
        async with asyncio.timeout(seconds):
            async for line in child.lines():
                return one_line(line.data.decode("utf-8", "replace"))
    except TimeoutError:
        pass
    finally:
        await child.end()
    return ""
