"""One life of the harness: settings, hello, then turns until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace

from harness.environment import Place
from harness.faults import OLD_GENERATION, misbehave
from harness.gate import Gate
from harness.link import Link
from meta.agent_toml.settings import AgentSettings, check_patterns, parse_settings, require_runtime
from meta.errors import BadInput

log = logging.getLogger(__name__)

HELLO_SECONDS = 5.0
"""How long turns wait until hive has taken note of the hello: it takes an inbox in use for a peer without a link."""


def read_settings(place: Place) -> AgentSettings:
    """agent.toml of the generation that runs; BadInput when it is missing or wrong."""
    path = place.config / "agent.toml"
    try:
        settings = parse_settings(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "every agent's repo has one") from error
    check_patterns(settings, str(path))
    return settings


async def serve(place: Place, settings: AgentSettings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    task = asyncio.ensure_future(_live(place, settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        log.info("asked to end")
        return 0


async def _live(place: Place, settings: AgentSettings) -> int:
    require_runtime(settings)
    start = settings.start
    if start.delay:
        log.info("waiting %g s on purpose", start.delay)
        await asyncio.sleep(start.delay)
    if start.fault is None and start.exit is not None:
        log.info("ending at the start on purpose")
        return start.exit
    if start.fault is not None and start.fault != "old-generation":
        return await misbehave(start.fault, place, 1 if start.exit is None else start.exit)
    gate = Gate()
    link = Link(place if start.fault is None else replace(place, generation=OLD_GENERATION), gate)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        await _acknowledged(link)
        await _turns(place, settings, gate)
    raise AssertionError("turns go on until they are cancelled")


async def _acknowledged(link: Link) -> None:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            await link.acknowledged.wait()
    except TimeoutError:
        log.info("hive has not answered the hello, beginning without it")


async def _turns(place: Place, settings: AgentSettings, gate: Gate) -> None:
    from harness.inbox import Inbox  # imported after the hello, which hive is waiting for
    from harness.loop import Loop
    from harness.runtimes.script import ScriptRuntime
    from harness.tools import HiveTools
    from harness.turn import take_turn

    runtime = ScriptRuntime(settings, place)
    inbox = Inbox(place.broker, manager=place.manager)
    tools = HiveTools(inbox, settings, place)
    try:
        await Loop(inbox, gate, lambda message: take_turn(runtime, message, tools, settings.limits.turn_seconds)).run()
    finally:
        inbox.close()
