"""All workspaces of one agent: cloned one after the other, tried again, and told to hive and to the agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from harness.event_sink import EventSink
from harness.workspace.clone import TEXT_LIMIT, Cloned, clone
from meta.agent_toml.workspace import Workspace
from meta.errors import HiveError
from meta.text import one_line
from meta.wire.link import WorkspaceState
from meta.wire.live import Note

FIRST_SECONDS = 120.0
"""Seconds that the first turn waits for a clone that goes on."""
NOTE_SECONDS = 10.0
"""Seconds between two notes about the progress of a clone."""
WAY_OUT_SECONDS = 1.0
"""Seconds between two looks at a way out that is closed."""
FIRST_DELAY = 5.0
LONGEST_DELAY = 300.0
"""Seconds until a clone that failed is tried again: the first, doubling up to the longest."""


class Workspaces:
    """The repos of `[[workspace]]`. `why` keeps the first turn back, for some time.

    git runs below `work` with what `env` returns. `look` returns why the way out is closed, "" if it is not.
    """

    def __init__(
        self,
        workspaces: Sequence[Workspace],
        work: Path,
        env: Callable[[], Mapping[str, str]],
        look: Callable[[], Awaitable[str]],
        bus: EventSink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._env = env
        self._look = look
        self._bus = bus
        self._clock = clock
        self._began = clock()
        self._waits = bool(workspaces)
        self._open = list(workspaces)
        self._states = {each.path: WorkspaceState(path=each.path, state="cloning") for each in workspaces}
        self._noted = 0.0
        self._untold: set[str] = set()

    @property
    def states(self) -> tuple[WorkspaceState, ...]:
        """Return the state of each, for hive."""
        return tuple(self._states.values())

    def why(self) -> str:
        """Return why the first turn waits. Empty once nothing goes on any more, or that takes too long."""
        going = [state.path for state in self.states if state.state == "cloning"]
        self._waits = self._waits and bool(going) and self._clock() - self._began < FIRST_SECONDS
        return f"cloning {', '.join(going)}: the first turn waits for it" if self._waits else ""

    def lines(self) -> Sequence[str]:
        """Return which workspaces are not there. One that came after the agent was told so is named too."""
        lines = []
        for state in self.states:
            place = self._work / state.path
            if state.state == "ready":
                if state.path in self._untold:
                    lines.append(f"the workspace {place} is ready now")
                continue
            self._untold.add(state.path)
            how = "its clone failed and is tried again" if state.state == "failed" else "it is being cloned"
            lines.append(f"the workspace {place} is not ready: {how}{f' ({state.text})' if state.text else ''}")
        return lines

    def mark_shown(self) -> None:
        """Note that the agent knows what `lines` returned last."""
        self._untold -= {state.path for state in self.states if state.state == "ready"}

    async def run(self, changed: Callable[[], None]) -> None:
        """Clone what is not there until all is. Call `changed` after each change of a state."""
        delay = FIRST_DELAY
        changed()
        while self._open:
            for workspace in tuple(self._open):
                while await self._look():  # noqa: ASYNC110 - another process opens it
                    await asyncio.sleep(WAY_OUT_SECONDS)
                cloned = await self._try(workspace, changed)
                if not cloned.problem:
                    self._open.remove(workspace)
                    self._set(workspace, "ready", "", changed)
                    if cloned.new:
                        self._bus.emit(Note(text=f"the workspace {workspace.path} is cloned"))
                else:
                    self._set(workspace, "failed", cloned.problem, changed)
                    self._bus.emit(Note(text=f"the workspace {workspace.path} is not cloned: {cloned.problem}"))
            if self._open:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)

    async def _try(self, workspace: Workspace, changed: Callable[[], None]) -> Cloned:
        def progress(text: str) -> None:
            now = self._clock()
            if text and now - self._noted >= NOTE_SECONDS:
                self._noted = now
                self._set(workspace, "cloning", text, changed)
                self._bus.emit(Note(text=f"cloning the workspace {workspace.path}: {text}"))

        try:
            return await clone(workspace, self._work, self._env(), progress)
        except HiveError as error:
            return Cloned(one_line(error.describe(), TEXT_LIMIT))

    def _set(self, workspace: Workspace, state: str, text: str, changed: Callable[[], None]) -> None:
        self._states[workspace.path] = WorkspaceState(path=workspace.path, state=state, text=text)
        changed()
