"""The parts of a harness that takes turns, put together. Imported after the hello, because hive waits for that."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.child import STARTER, Child, start_child, start_login_watch
from harness.compaction import NOTES_FILE, Compactor
from harness.controls import Controls, LoginControl, NoLogin
from harness.conversation import Agent, Conversation, News
from harness.descendants import orphans
from harness.enclosure import NO_POD, Pod, enclosed
from harness.environment import Environment
from harness.event_sink import EventSink
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.gate import Gate
from harness.in_flight import InFlight, Messages, Returns
from harness.inbox import Inbox
from harness.link import Link
from harness.login.make import make_login
from harness.login.process import Start
from harness.loop import LoginMark, Loop, NoLoginMark, Nothing, OpenWay, Outside, WayOut
from harness.model import MODEL_FILE, Model
from harness.pods import OwnPods, hive_above, open_pods
from harness.program import PROBLEM_SECONDS, Program
from harness.prompts.render import Places, render_pod_prompt, render_prompt
from harness.relay.egress import egress_relay
from harness.runtimes.base import Enclosure, Runtime, RuntimeSpec
from harness.runtimes.missing import MissingRuntime
from harness.runtimes.registry import make_runtime
from harness.runtimes.script import ScriptRuntime
from harness.session import Session
from harness.tools import HiveTools, Sends
from harness.turn import close
from harness.way_out.way_out import WayOut as WayOutOfAgent
from harness.workspace.workspaces import Workspaces
from meta.agent_toml.settings import AgentSettings
from meta.errors import HiveError, TransientError
from meta.wire.link import About, Control, UpLine
from meta.wire.live import Note, StateChange


class Uplink(Returns, Protocol):
    """What is said to hive (harness.link)."""

    def send(self, line: UpLine) -> None:
        """Write a line without waiting."""

    def about(self, about: About) -> None:
        """Report the runtime."""

    def handle(self, kind: type[Control], handler: Callable[[Control], None]) -> None:
        """Pass lines of this kind to `handler`."""


class AnyInbox(Messages, Sends, Protocol):
    """Where messages come from and go to (harness.inbox)."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the other parts of the harness bring: the runtime, its login, the bus, and the clock.

    `watch` runs for ever. It calls its argument with each change of the login: why there is none, or None.
    `lasting`: they are not in place of parts that can be made later.
    """

    bus: EventSink
    runtime: Runtime
    credentials: LoginMark
    login: LoginControl
    watch: Callable[[Callable[[str | None], None]], Coroutine[None, None, None]] | None = None
    clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    lasting: bool = True
    way_out: WayOut = field(default_factory=OpenWay)
    workspaces: Workspaces | None = None
    news: Sequence[News] = ()


async def take_turns(
    environment: Environment, settings: AgentSettings, gate: Gate, link: Link, bus: Bus, store: EventStore
) -> None:
    """Take turns until cancelled. What cannot be made now is made again later."""
    report_states(gate, bus)
    above = hive_above(environment, settings, link)
    async with open_pods(environment, settings, gate, bus, store, above) as own:
        await drive(
            environment, settings, gate, link, bus, own, lambda: Inbox(environment.broker, manager=environment.manager)
        )


async def drive(
    environment: Environment,
    settings: AgentSettings,
    gate: Gate,
    link: Uplink,
    bus: Bus,
    own: OwnPods,
    make_inbox: Callable[[], AnyInbox],
    guard: Callable[[WayOut], WayOut] = lambda way_out: way_out,
) -> None:
    """Take turns with the own pod until cancelled. What cannot be made now is made again later.

    `guard` returns the way out with what else a turn waits for.
    """
    sink = own.pod.watch(bus)
    while True:
        async with AsyncExitStack() as stack:
            inbox = make_inbox()
            stack.callback(inbox.close)
            parts = await make_parts(environment, settings, inbox, sink, stack, own)
            parts = replace(parts, way_out=guard(parts.way_out))
            if parts.lasting:
                await run(environment, settings, gate, link, inbox, parts, own)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBLEM_SECONDS):
                    await run(environment, settings, gate, link, inbox, parts, own)


async def make_parts(
    environment: Environment,
    settings: AgentSettings,
    inbox: AnyInbox,
    bus: EventSink,
    stack: AsyncExitStack,
    own: OwnPods | None = None,
) -> Parts:
    """Return the parts around a CLI or around rules. What they need is closed with `stack`.

    If they cannot be made, the agent is parked and says why.
    """
    if settings.runtime == "script":
        await _open_way_out(environment, bus, stack)
        tools = HiveTools(inbox, settings, environment)
        return Parts(bus, ScriptRuntime(settings, environment, tools), NoLoginMark(), NoLogin())
    orphans.adopt_everything()
    try:
        prompt = _prompt(environment, settings, own)
        enclosure, way_out = await stack.enter_async_context(_enclosed(environment, settings, own))
        if note := other_port(environment.egress_port, enclosure.env.get("https_proxy", "")):
            bus.emit(Note(text=note))
        spec = RuntimeSpec(environment.agent, environment.manager, settings, enclosure, prompt)
        runtime = make_runtime(spec, environment, HiveTools(inbox, settings, environment))
    except HiveError as error:
        return Parts(bus, MissingRuntime(settings.runtime, error), NoLoginMark(), NoLogin())
    except OSError as error:
        why = TransientError(f"the folders of the CLI cannot be made: {error}", "free space: it is tried every minute")
        return Parts(bus, MissingRuntime(settings.runtime, why), NoLoginMark(), NoLogin(), lasting=False)
    watch = start_login_watch if os.environ.get(STARTER) else None
    login = make_login(settings, enclosure.home, enclosure.env, start_within(enclosure), watch)
    stack.push_async_callback(login.driver.close)
    workspaces = _workspaces(settings, enclosure, way_out, bus)
    return Parts(
        bus,
        runtime,
        login.credentials,
        login.driver,
        login.watch,
        way_out=BeforeTurns(way_out, workspaces.why),
        workspaces=workspaces,
        news=(way_out, workspaces),
    )


def _workspaces(settings: AgentSettings, enclosure: Enclosure, way_out: WayOutOfAgent, bus: EventSink) -> Workspaces:
    env = {**enclosure.env, "HOME": str(enclosure.home)}
    return Workspaces(settings.workspace, enclosure.work, lambda: {**env, **enclosure.access().env}, way_out.look, bus)


def _enclosed(
    environment: Environment, settings: AgentSettings, own: OwnPods | None
) -> AbstractAsyncContextManager[tuple[Enclosure, WayOutOfAgent]]:
    pod = NO_POD if own is None else Pod(own.scope, own.delegated, own.tools, has_hive=not environment.pod)
    return enclosed(environment, settings, os.environ, pod)


def _prompt(environment: Environment, settings: AgentSettings, own: OwnPods | None) -> str:
    if environment.pod and own is not None:
        scope, work = own.pod.driven.scope, environment.cwd or environment.state
        return render_pod_prompt(environment.pod, environment.agent, settings, scope=scope, work=work)
    places = Places(environment.state, environment.agents)
    return render_prompt(environment.agent, settings, manager=environment.manager, places=places)


def start_within(enclosure: Enclosure) -> Start:
    """Return what starts the CLI for its login, under the bounds of the moment."""

    async def start(argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Child:
        return await start_child(argv, env, cwd, enclosure.bounds())

    return start


async def run(
    environment: Environment,
    settings: AgentSettings,
    gate: Gate,
    link: Uplink,
    inbox: AnyInbox,
    parts: Parts,
    own: OwnPods,
) -> None:
    """Take turns with these parts until cancelled. End the runtime's process then."""
    bus, runtime = parts.bus, parts.runtime
    model = Model(model_file(environment), settings.model)
    session = Session(environment.kept, settings.runtime)
    workspaces = parts.workspaces
    program = Program(
        runtime, model, link.about, lambda: parts.way_out.key, lambda: workspaces.states if workspaces else ()
    )
    compactor = Compactor(runtime, bus, settings.limits, environment.state / NOTES_FILE)
    own.pod.driven.runtime = runtime
    own.pod.driven.model = lambda: model.name or runtime.default_model
    news = (*parts.news, own.pod.requests)
    agent = Agent(environment.generation, settings, news, lambda: parts.way_out.key, own.pod.pod)
    in_flight = InFlight(inbox, link, own.pod.requests)
    conversation = Conversation(agent, runtime, in_flight, gate, bus, session, model, compactor)
    outside = Outside(parts.credentials, parts.clock, parts.random, parts.way_out, own.agents or Nothing())
    loop = Loop(in_flight, own.pod.requests, gate, conversation, program, bus, outside)
    controls = Controls(loop, gate, conversation, model, program, bus, link.send, parts.login)
    link.handle(Control, controls.handle)
    background = [asyncio.create_task(parts.watch(loop.set_login))] if parts.watch else []
    background += [asyncio.create_task(workspaces.run(program.report))] if workspaces else []
    try:
        await loop.run()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await controls.close()
        await close(runtime)


async def _open_way_out(environment: Environment, bus: EventSink, stack: AsyncExitStack) -> None:
    """Open the way out for `hive shell`. The runtime itself does not need it, and runs without it too."""
    try:
        url = await stack.enter_async_context(egress_relay(environment.egress, port=environment.egress_port))
    except OSError as error:
        bus.emit(Note(text=f"no way out on loopback: {error}"))
        return
    if note := other_port(environment.egress_port, url):
        bus.emit(Note(text=note))


def other_port(wanted: int, url: str) -> str:
    """Return what to know if the way out is at another port than hive chose, "" if it is not."""
    port = url.rpartition(":")[2]
    if wanted == 0 or port == str(wanted):
        return ""
    return f"port {wanted} is taken, the way out is at {port}: `hive shell` does not find it by its variables"


class BeforeTurns:
    """What a turn waits for: the way out, and something else. `why` returns why that is not there, "" if it is."""

    def __init__(self, way_out: WayOut, why: Callable[[], str]) -> None:
        self._way_out = way_out
        self._why = why

    @property
    def known(self) -> bool:
        """Return True once it is known which keys are outside."""
        return self._way_out.known

    @property
    def key(self) -> str:
        """Return the kind of the key outside that the CLI uses."""
        return self._way_out.key

    @property
    def misses(self) -> int:
        """Return how many connections from inside found nothing that answers."""
        return self._way_out.misses

    async def look(self, *, fresh: bool = False) -> str:
        """Return why no turn may begin, "" if one may."""
        return await self._way_out.look(fresh=fresh) or self._why()


def model_file(environment: Environment) -> Path:
    """Return the file of the operator's model."""
    named = os.environ.get("HYPERHIVE_MODEL_FILE")
    return Path(named) if named else environment.kept / MODEL_FILE


def report_states(gate: Gate, bus: EventSink) -> None:
    """Emit an event for each change of the turn state."""

    def report() -> None:
        status = gate.status
        bus.emit(StateChange(state=status.state, since=status.since, until=status.until, reason=status.reason))

    gate.listen(report)
    report()
