"""`hive-harness serve`: the program in the container.

Exit codes: 0 ended by SIGTERM, 1 an error that is printed, 2 wrong usage; `[start] exit` and `crash` give their own.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from harness.environment import Environment, environment
from harness.inbox import Inbox
from harness.link import Identity, Link
from harness.loop import TurnLoop
from harness.runtimes.base import Runtime
from harness.runtimes.script import ScriptRuntime
from harness.worktree import WorkTrees
from meta.errors import HiveError, NotFound, PermanentError
from meta.settings import AgentSettings, parse_settings

log = logging.getLogger("harness")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hive-harness", description="The program in an agent's container.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="take messages and turn them into turns, until SIGTERM")
    parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        asyncio.run(serve(environment(os.environ)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        log.info("ended by a signal")
    except HiveError as error:
        log.error("%s%s", error.summary, f"; {error.hint}" if error.hint else "")
        return 1
    return 0


async def serve(place: Environment) -> None:
    """Run until SIGTERM. HiveError when this agent cannot start."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    settings = _settings(place)
    runtime = _runtime(settings)
    start = settings.start
    if start.exit is not None:
        log.warning("start.exit: exit %d", start.exit)
        raise SystemExit(start.exit)
    if start.delay:
        await asyncio.sleep(start.delay)
    link = Link(place.link_socket, Identity(place.generation, place.nonce), start.fault)
    inbox = Inbox(place.inbox_socket)
    loop = TurnLoop(
        link,
        inbox,
        runtime,
        WorkTrees(place.agents, place.agent, place.home),
        settings.recipients,
        settings.limits.turn_seconds,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.run())
            if start.fault is None:  # a peer that takes messages counts as healthy, which a fault must not
                tasks.create_task(loop.run())
    finally:
        inbox.close()


def _settings(place: Environment) -> AgentSettings:
    path = place.config / "agent.toml"
    try:
        return parse_settings(path.read_bytes(), str(path))
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", "the generation is broken: rebuild it") from error


def _runtime(settings: AgentSettings) -> Runtime:
    match settings.runtime:
        case "script":
            return ScriptRuntime(settings.script)
        case "claude":
            raise PermanentError("agent.toml: runtime: claude is not available yet", 'use runtime = "script"')


if __name__ == "__main__":
    sys.exit(main())
