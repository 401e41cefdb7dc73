"""The parts of a harness that takes turns, put together. Imported after the hello, because hive waits for that."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from harness.compaction import NOTES_FILE, Compactor
from harness.controls import Controls, LoginControl, NoLogin
from harness.conversation import Agent, Conversation
from harness.environment import Environment
from harness.events.bus import Bus
from harness.gate import Gate
from harness.inbox import Inbox
from harness.link import Link
from harness.loop import Around, Credentials, Loop, NoCredentials
from harness.model import MODEL_FILE, Model
from harness.program import Program
from harness.runtimes.base import Runtime
from harness.runtimes.missing import MissingRuntime
from harness.runtimes.script import ScriptRuntime
from harness.session import Session
from harness.tools import HiveTools
from harness.turn import close
from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput
from meta.wire.link import Control
from meta.wire.live import StateChange


@dataclass(frozen=True, slots=True)
class Parts:
    """What the other parts of the harness bring: the runtime, its login, the bus, and the clock.

    `watch` runs for ever. It calls its argument with each change of the login: why there is none, or None.
    """

    bus: Bus
    runtime: Runtime
    credentials: Credentials
    login: LoginControl
    watch: Callable[[Callable[[str | None], None]], Coroutine[None, None, None]] | None = None
    clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


async def take_turns(environment: Environment, settings: AgentSettings, gate: Gate, link: Link, bus: Bus) -> None:
    """Take turns until cancelled."""
    inbox = Inbox(environment.broker, manager=environment.manager)
    runtime = make_runtime(environment, settings, inbox)
    parts = Parts(bus, runtime, make_credentials(runtime), make_login(runtime))
    try:
        await run(environment, settings, gate, link, inbox, parts)
    finally:
        inbox.close()


async def run(
    environment: Environment, settings: AgentSettings, gate: Gate, link: Link, inbox: Inbox, parts: Parts
) -> None:
    """Take turns with these parts until cancelled. End the runtime's process then."""
    bus, runtime = parts.bus, parts.runtime
    model = Model(model_file(environment), settings.model)
    session = Session(environment.state, settings.runtime)
    program = Program(runtime, model, link.about)
    compactor = Compactor(runtime, bus, settings.limits, environment.state / NOTES_FILE)
    agent = Agent(environment.generation, settings)
    conversation = Conversation(agent, runtime, inbox, gate, bus, session, model, compactor)
    around = Around(link.release, parts.credentials, parts.clock, parts.random)
    loop = Loop(inbox, gate, conversation, program, bus, around)
    controls = Controls(loop, gate, conversation, model, program, bus, link.send, parts.login)
    report_states(gate, bus)
    link.handle(Control, controls.handle)
    watch = None if parts.watch is None else asyncio.create_task(parts.watch(loop.set_login))
    try:
        await loop.run()
    finally:
        if watch is not None:
            watch.cancel()
        await controls.close()
        await close(runtime)


def make_runtime(environment: Environment, settings: AgentSettings, inbox: Inbox) -> Runtime:
    """Return the runtime that agent.toml names. One that cannot be made parks the agent and says why."""
    if settings.runtime == "script":
        return ScriptRuntime(settings, environment, HiveTools(inbox, settings, environment))
    error = BadInput(f"this hive has no runtime {settings.runtime!r} yet", 'set runtime = "script" in agent.toml')
    return MissingRuntime(settings.runtime, error)


def make_credentials(runtime: Runtime) -> Credentials:
    """Return the place where the runtime's CLI keeps its login."""
    return NoCredentials()


def make_login(runtime: Runtime) -> LoginControl:
    """Return what drives the login of the runtime's CLI."""
    return NoLogin()


def model_file(environment: Environment) -> Path:
    """Return the file of the operator's model."""
    named = os.environ.get("HYPERHIVE_MODEL_FILE")
    return Path(named) if named else environment.state / MODEL_FILE


def report_states(gate: Gate, bus: Bus) -> None:
    """Emit an event for each change of the turn state."""

    def report() -> None:
        status = gate.status
        bus.emit(StateChange(state=status.state, since=status.since, until=status.until, reason=status.reason))

    gate.listen(report)
    report()
