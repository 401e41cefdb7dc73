"""A whole harness but for its process: the real link, inbox and loop with a scripted runtime, against FakeHive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.assembly import Parts, report_states, run
from harness.controls import NoLogin
from harness.conversation import News
from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.hold import PauseMemory
from harness.inbox import Inbox
from harness.link import Link
from harness.loop import LoginMark, NoLoginMark, OpenWay, WayOut
from harness.pod.open import OpenPod
from harness.pods import OwnPods, hive_above, open_pods
from harness.runtimes.base import Runtime
from meta.agent_toml.settings import AgentSettings, parse_settings
from meta.names import AgentName
from meta.wire.agent import RequeueInflight
from tests.support.scripted_runtime import EventList, ScriptedRuntime

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive


@dataclass
class Inside:
    """One harness in the test's process. `start` runs it until the block ends."""

    base: Path
    runtime: ScriptedRuntime = field(default_factory=ScriptedRuntime)
    real: Runtime | None = None
    """A real runtime in its place."""
    events: EventList = field(default_factory=EventList)
    settings: AgentSettings = field(default_factory=lambda: parse_settings(b""))
    credentials: LoginMark = field(default_factory=NoLoginMark)
    clock: Callable[[], float] | None = None
    generation: str = "g1"
    way_out: WayOut = field(default_factory=OpenWay)
    news: Sequence[News] = ()
    set_login: Callable[[str | None], None] = lambda _: None
    pod: OpenPod = field(init=False)
    own: OwnPods = field(init=False)

    async def _watch(self, report: Callable[[str | None], None]) -> None:
        self.set_login = report
        await asyncio.Event().wait()

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Gate]:
        """Run the harness. Leave the block as a SIGTERM does."""
        if not (self.base / "state").exists():
            (self.base / "state").mkdir()
        environment = Environment(
            AgentName("alice"),
            False,
            self.generation,
            "n1",
            self.base / "config",
            self.base / "run",
            self.base / "state",
            self.base / "agents",
            pods=self.base,
        )
        gate = Gate(PauseMemory(environment.state))
        store = EventStore(environment.events)
        bus = Bus(store)
        link, inbox = Link(environment, gate, bus), Inbox(environment.broker, manager=False)
        clock = self.clock or time.time
        stack = contextlib.AsyncExitStack()
        own = await stack.enter_async_context(
            open_pods(environment, self.settings, gate, bus, store, hive_above(environment, self.settings, link))
        )
        self.own, self.pod = own, own.pod
        parts = Parts(
            self.pod.watch(self.events),
            self.real or self.runtime,
            self.credentials,
            NoLogin(),
            self._watch,
            clock,
            lambda: 0.0,
            way_out=self.way_out,
            news=self.news,
        )
        linked = asyncio.create_task(link.run())
        await link.acknowledged.wait()
        report_states(gate, self.events)
        turns = asyncio.create_task(run(environment, self.settings, gate, link, inbox, parts, own))
        try:
            yield gate
        finally:
            for task in (turns, linked):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await stack.aclose()  # before the link, as in harness.serve
            inbox.close()
            store.close()


def requeues(hive: FakeHive) -> int:
    """Requeues beside the one at boot."""
    return sum(isinstance(call, RequeueInflight) for call in hive.calls) - 1


async def poll(what: Callable[[], object]) -> None:
    """Wait for something that FakeHive does not see."""
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.005)
