"""The harness's process: read the settings, send the hello, do turns until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace

from harness.environment import Environment
from harness.events.bus import Bus
from harness.events.store import EventStore
from harness.faults import OLD_GENERATION, misbehave
from harness.gate import Gate
from harness.hold import PauseMemory
from harness.link import Link
from meta.agent_toml.settings import AgentSettings, check_patterns, parse_settings
from meta.errors import BadInput

log = logging.getLogger(__name__)

HELLO_SECONDS = 5.0
"""Seconds that turns wait for the answer to the hello.

If an agent uses its inbox before the hello, hive takes it for a peer without a link.
"""


def read_settings(environment: Environment) -> AgentSettings:
    """Return agent.toml of the running generation. Raise BadInput if it is missing or wrong."""
    path = environment.config / "agent.toml"
    try:
        settings = parse_settings(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "propose a commit that has one") from error
    check_patterns(settings, str(path))
    return settings


async def serve(environment: Environment, settings: AgentSettings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    task = asyncio.ensure_future(_run(environment, settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        log.info("asked to end")
        return 0


async def _run(environment: Environment, settings: AgentSettings) -> int:
    start = settings.start
    if start.delay:
        log.info("waiting %g s on purpose", start.delay)
        await asyncio.sleep(start.delay)
    if start.fault is None and start.exit is not None:
        log.info("ending at the start on purpose")
        return start.exit
    if start.fault is not None and start.fault != "old-generation":
        return await misbehave(start.fault, environment, 1 if start.exit is None else start.exit)
    gate = Gate(PauseMemory(environment.kept))
    store = await asyncio.to_thread(EventStore, environment.events)
    bus = Bus(store)
    launched = environment if start.fault is None else replace(environment, generation=OLD_GENERATION)
    link = Link(launched, gate, bus)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.run())
            await _await_answer(link)
            await _turns(environment, settings, gate, link, bus, store)
    finally:
        store.close()
    raise AssertionError("turns end only by cancellation")


async def _await_answer(link: Link) -> None:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            await link.acknowledged.wait()
    except TimeoutError:
        log.info("hive did not answer the hello, starting without")


async def _turns(
    environment: Environment, settings: AgentSettings, gate: Gate, link: Link, bus: Bus, store: EventStore
) -> None:
    from harness.assembly import take_turns  # imported after the hello, because hive waits for that

    await take_turns(environment, settings, gate, link, bus, store)
