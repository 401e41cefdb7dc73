"""`hive serve`: the daemon with its sockets, from start to the signal that ends it. Agents go on without it."""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.client.exit_codes import Code
from api.cli.client.follow import GIVEN_UP
from api.cli.render import output
from api.daemon import logs, watchdog
from api.daemon.agent_sockets import AgentSockets
from api.daemon.notify import notify
from api.daemon.operator_sockets import serve_operator
from meta.config import Config, config_from_environment
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName, agent_name
from reconciler.daemon.daemon import Daemon
from reconciler.plan.steps import OpenSockets
from reconciler.telemetry import tracing

if TYPE_CHECKING:
    from reconciler.agents.lifecycle import Service

log = logging.getLogger(__name__)

INSIDE = frozenset(
    f"HIVE_{word}"
    for word in (
        *("AGENT", "AGENTS", "APPLIED", "BOOT_NONCE", "CONFIG", "DASHBOARD_PORT", "GENERATION", "LABEL", "META"),
        *("OWNER", "PORT", "ROLE", "RUN", "FAILPOINT", "FULL", "STRICT"),
    )
)
"""Variables of hive that are no settings of the daemon: those inside a container, and those of the tests."""
READY_SECONDS = 10.0
"""The longest wait for the sockets of agents that run already."""
OTHER_VARIABLES = INSIDE | {"HIVE_STATE", "HIVE_RUNTIME", "HIVE_BACKEND", "HIVE_BUILDER", "HIVE_REVISION"}


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where and how. `once`: reconcile (`only` one agent) for at most `seconds`, print the plan, then end.

    `unsafe` lets agents run without bubblewrap, whatever HIVE_ISOLATION says; `json`: the plan as JSON.
    """

    state: Path
    runtime: Path
    backend: str = "local"
    builder: str = "plain"
    once: bool = False
    only: str | None = None
    seconds: float = 600.0
    unsafe: bool = False
    json: bool = False

    def config(self) -> Config:
        """The settings in the environment, and what the options say beyond them."""
        config = config_from_environment()
        return config.model_copy(update={"isolation": "unsafe-none"}) if self.unsafe else config

    def layout(self) -> Layout:
        """The paths below the two directories; symlinks in the way to them are followed here, once."""
        return Layout(self.state.resolve(), self.runtime.resolve())


async def serve(options: ServeOptions) -> int:
    """Run until SIGTERM or SIGINT (or, with `once`, until nothing is left to do). Returns an exit code.

    A background task that ends, ends the daemon with Code.FAILED.
    Raises HiveError when the daemon cannot start: another one has the state directory, a setting is wrong.
    """
    config, layout = options.config(), options.layout()
    logs.set_up(config.log_format)
    _allow_descriptors()
    tracing.start(os.environ)
    for warning in unknown_settings(os.environ):
        log.warning("%s", warning)
    only = agent_name(options.only) if options.only else None
    stopping = asyncio.Event()
    _on_signals(stopping)
    sockets = AgentSockets(layout, config)
    daemon = Daemon(layout, config, sockets, backend=options.backend, builder=options.builder)
    try:
        await daemon.open()
        sockets.attach(daemon.service)
        if options.once:
            await daemon.start()
            return await _once(daemon, only, options, stopping)
        async with serve_operator(daemon.service, layout, config, stopping):
            await daemon.start()
            await _answering(daemon.service, sockets)
            notify("READY=1")
            await _welcome(daemon.service)
            await _until(stopping, daemon)
            notify("STOPPING=1")
            log.info("stopping; agents go on")
    finally:
        await sockets.mute()
        await daemon.close()
        await sockets.close_all()
        await asyncio.to_thread(tracing.stop)
    return Code.OK if daemon.failure is None else Code.FAILED


async def _until(stopping: asyncio.Event, daemon: Daemon) -> None:
    """Wait for the signal or the failure that ends the daemon. Report to systemd meanwhile that it is alive."""
    background = daemon.service.background
    living = [background.start("watchdog", watchdog.live(daemon.service))] if watchdog.wanted() else []
    try:
        await _first(stopping, daemon)
    finally:
        await background.stop(*living)


async def _first(stopping: asyncio.Event, daemon: Daemon, *others: asyncio.Task[bool]) -> None:
    """Wait until `stopping` is set, a background task has ended and is on record, or one of `others` is done."""
    signalled, failed = asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(daemon.failed())
    try:
        await asyncio.wait({signalled, failed, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
        if daemon.failure is None:  # else it records that, within bounds
            failed.cancel()
        await asyncio.wait({signalled, failed})


async def _answering(service: Service, sockets: AgentSockets) -> None:
    """Wait until agents that went on without a daemon find their sockets again; what cannot open holds nobody up."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            waiting = [row.agent for row in await service.plan() if row.step == OpenSockets.name]
            await asyncio.gather(*(sockets.opened(agent) for agent in waiting))
    except TimeoutError:
        log.warning("ready, but the sockets of some agents are not open yet")
    except HiveError as error:
        log.warning("ready, but nobody knows whether the sockets of all agents are open: %s", error.summary)


async def peek(options: ServeOptions) -> list[dict[str, Any]]:
    """The plan, read from disk without a daemon, without the lock, and without changing anything."""
    config, layout = options.config(), options.layout()
    daemon = Daemon(layout, config, AgentSockets(layout, config), backend=options.backend, builder=options.builder)
    rows = await daemon.peek(agent_name(options.only) if options.only else None)
    return [asdict(row) for row in rows]


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """One warning for each HIVE_* variable that nothing of hive reads: most likely a slip."""
    known = {f"HIVE_{key.upper()}" for key in Config.model_fields} | OTHER_VARIABLES
    warnings = []
    for name in sorted(key for key in environment if key.startswith("HIVE_") and key not in known):
        near = difflib.get_close_matches(name, sorted(known - INSIDE), n=1)
        what = f"did you mean {near[0]}?" if near else "see docs/reference/configuration.md"
        warnings.append(f"{name} is no setting of hive and has no effect; {what}")
    return warnings


async def _once(daemon: Daemon, agent: AgentName | None, options: ServeOptions, stopping: asyncio.Event) -> int:
    service = daemon.service
    settling = asyncio.ensure_future(service.settled(agent, options.seconds))
    await _first(stopping, daemon, settling)
    if daemon.failure is not None or not settling.done():
        settling.cancel()
        return Code.INTERRUPTED if daemon.failure is None else Code.FAILED
    rows = await service.plan(agent)
    if options.json:
        output.say_json([asdict(row) for row in rows])
    for row in () if options.json else rows:
        _say(f"{row.agent}: {row.phase}, {row.step}: {row.reason}")
    if not settling.result():
        return Code.TIMEOUT
    return Code.FAILED if any(row.phase in GIVEN_UP for row in rows) else Code.OK


async def _welcome(service: Service) -> None:
    """Where everything is, and what to type next."""
    status = await service.status()
    here = Path(status.state) == Path(".hive").resolve() and Path(status.runtime) == Path(".hive/run").resolve()
    _say(f"hive {status.revision} is up (backend {status.backend}, builder {status.builder}).")
    _say(f"  state      {status.state}")
    _say(f"  sockets    {status.runtime}/host.sock (JSON lines), {status.runtime}/http.sock (HTTP)")
    _say(f"  isolation  {status.isolation}")
    for note in status.notes:
        _say(f"  note       {note}")
    _say("Type next, in another terminal:")
    if not here:
        _say(f"  export HIVE_STATE={status.state} HIVE_RUNTIME={status.runtime}")
    if Path(sys.prefix, "bin", "activate").exists():
        _say(f"  . {sys.prefix}/bin/activate")
    _say("  hive status")
    _say("  hive spawn alice --wait")
    _say(f"  git clone {status.state}/applied/alice/.git alice   # change agent.toml there and commit, then:")
    _say(f"  git -C alice push {status.state}/push/alice.git HEAD:my-topic")
    _say("  hive diff 1; hive approve 1 --wait")
    _say("Ctrl-C ends the daemon; agents go on.")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _on_signals(stopping: asyncio.Event) -> None:
    """The first signal ends in good order, a second one at once: a start after a kill ends in the same place."""

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _allow_descriptors() -> None:
    """As many open files as the system lets this process have: every connection of every agent is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays as it is: %s", error)
