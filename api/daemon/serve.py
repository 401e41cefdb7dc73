"""`hive serve`: run the daemon with its sockets until a signal ends it. Agents keep running.

Nothing here prints: `on_ready` gets the status to show once the daemon answers. `serve` returns how the daemon ended.
"""

from __future__ import annotations

import asyncio
import difflib
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.daemon import descriptors, logs, watchdog
from api.daemon.agent_sockets import AgentSockets
from api.daemon.dashboard import serve_dashboard
from api.daemon.notify import notify
from api.daemon.operator_sockets import serve_operator
from meta.config import Config, config_from_environment
from meta.errors import HiveError
from meta.layout import Layout
from meta.names import AgentName, agent_name
from meta.process.launcher import join_keyring
from reconciler.daemon.choices import choose
from reconciler.daemon.daemon import Daemon
from reconciler.daemon.peek import peek as plan_on_disk
from reconciler.plan.steps import OpenSockets
from reconciler.telemetry import tracing
from reconciler.views import PlanRow, Status

if TYPE_CHECKING:
    from api.http.asgi import App
    from reconciler.service import Service
    from reconciler.telemetry.dashboard import DashboardState

log = logging.getLogger(__name__)

INSIDE = frozenset(
    f"HIVE_{word}"
    for word in (
        *("AGENT", "AGENTS", "APPLIED", "BOOT_NONCE", "CONFIG", "DASHBOARD_PORT", "GENERATION", "LABEL", "META"),
        *("OWNER", "PORT", "ROLE", "RUN", "FAILPOINT", "FULL", "STRICT"),
    )
)
"""HIVE_* variables that are not settings of the daemon: those inside a container, and those of the tests."""
FULL_AFTER = 100
"""Collections of the middle generation between two full ones, at least. Python's own number is 10."""
READY_SECONDS = 10.0
"""Seconds to wait for the sockets of agents that were already running."""
OTHER_VARIABLES = INSIDE | {"HIVE_STATE", "HIVE_RUNTIME", "HIVE_BACKEND", "HIVE_BUILDER", "HIVE_REVISION"}


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The directories and settings of one daemon.

    `once`: reconcile for at most `seconds`, then end; `only` limits that to one agent. `unsafe` lets agents run without
    bubblewrap, even if HIVE_ISOLATION forbids it. `behind_proxy`: a reverse proxy does TLS for the dashboard.
    """

    state: Path
    runtime: Path
    backend: str = "local"
    builder: str = "plain"
    once: bool = False
    only: str | None = None
    seconds: float = 600.0
    unsafe: bool = False
    behind_proxy: bool = False

    def config(self) -> Config:
        """The settings from the environment, overridden by the options."""
        given: dict[str, object] = {"isolation": "unsafe-none"} if self.unsafe else {}
        if self.behind_proxy:
            given["dashboard_behind_proxy"] = True
        return config_from_environment().model_copy(update=given)

    def layout(self) -> Layout:
        """The paths below the two directories. Symlinks in these two are resolved here, once."""
        return Layout(self.state.resolve(), self.runtime.resolve())


class Outcome(Enum):
    """The reason why a daemon ended. The last three occur with `once` only."""

    STOPPED = auto()
    """A signal arrived."""
    FAILED = auto()
    """A background task of the daemon ended."""
    SETTLED = auto()
    """No work was left."""
    TIMED_OUT = auto()
    """Work was left when the time was over."""
    INTERRUPTED = auto()
    """A signal arrived before the work was done."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a daemon. `plan`: the work that is left, if the outcome is SETTLED or TIMED_OUT."""

    outcome: Outcome
    plan: tuple[PlanRow, ...] = ()


OnReady = Callable[[Status], None]
"""Gets the daemon's status once its sockets answer."""


async def serve(options: ServeOptions, on_ready: OnReady = lambda _: None) -> Ending:
    """Run until SIGTERM or SIGINT, or with `once` until no work is left. Return how the daemon ended.

    If a background task ends, the daemon ends. Raise HiveError if the daemon cannot start: another daemon holds the
    state directory, or a setting is wrong.
    """
    config, layout = options.config(), options.layout()
    join_keyring()  # before any thread: the keyring of the session that started hive is not for what hive starts
    logs.set_up(config.log_format)
    _allow_descriptors()
    tracing.start(os.environ)
    for warning in unknown_settings(os.environ):
        log.warning("%s", warning)
    only = agent_name(options.only) if options.only else None
    stopping = asyncio.Event()
    _on_signals(stopping)
    serving: asyncio.Future[Service] = asyncio.get_running_loop().create_future()
    sockets = AgentSockets(layout, config, serving)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(asyncio.to_thread, tracing.stop)
        closing.push_async_callback(sockets.close_all)
        daemon = await Daemon.open(layout, config, sockets, choose(options.backend, options.builder))
        closing.push_async_callback(daemon.close)
        closing.push_async_callback(sockets.mute)
        serving.set_result(daemon.service)
        descriptors.watch(asyncio.get_running_loop(), daemon.world.metrics.descriptors)
        if options.once:
            await daemon.start()
            return await _once(daemon, only, options, stopping)
        service, state = daemon.service, daemon.world.metrics.dashboard
        make_app = partial(_dashboard_app, service, config, state, stopping)
        async with (
            serve_operator(service, layout, config, stopping),
            serve_dashboard(service.background, config, state, stopping, make_app) as tried,
        ):
            await daemon.start()
            await _answering(daemon.service, sockets)
            await _tried(tried)
            notify("READY=1")
            on_ready(await daemon.service.status())
            _collect_seldom()
            await _until(stopping, daemon)
            notify("STOPPING=1")
            log.info("stopping; agents go on")
    return Ending(Outcome.STOPPED if daemon.failure is None else Outcome.FAILED)


def _collect_seldom() -> None:
    """Let no full garbage collection stop the daemon for long: with 1,000 agents it takes 200 ms.

    What is there now (code, what is known of the agents) is not looked at any more, and full collections come a tenth
    as often as Python has them. Most of what is not used any more is freed at once by its count of references, and
    young cycles as before.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_AFTER)


async def _until(stopping: asyncio.Event, daemon: Daemon) -> None:
    """Wait for the signal or the failure that ends the daemon. Meanwhile report to systemd that the daemon is alive."""
    background = daemon.service.background
    living = [background.start("watchdog", watchdog.live(daemon.service))] if watchdog.wanted() else []
    try:
        await _first(stopping, daemon)
    finally:
        await background.stop(*living)


async def _first(stopping: asyncio.Event, daemon: Daemon, *others: asyncio.Task[bool]) -> None:
    """Wait until `stopping` is set, a background task has ended and is recorded, or one of `others` is done."""
    signalled, failed = asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(daemon.failed())
    try:
        await asyncio.wait({signalled, failed, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
        if daemon.failure is None:  # else it records that, within bounds
            failed.cancel()
        await asyncio.wait({signalled, failed})


async def _answering(service: Service, sockets: AgentSockets) -> None:
    """Open the sockets of agents that kept running without a daemon.

    An agent whose sockets cannot be opened does not delay the others.
    """
    try:
        async with asyncio.timeout(READY_SECONDS):
            waiting = [row.agent for row in await service.plan() if row.step == OpenSockets.name]
            await asyncio.gather(*(sockets.opened(agent) for agent in waiting))
    except TimeoutError:
        log.warning("ready, but the sockets of some agents are not open yet")
    except HiveError as error:
        log.warning("ready, but it is unknown whether the sockets of all agents are open: %s", error.summary)


def _dashboard_app(service: Service, config: Config, state: DashboardState, stopping: asyncio.Event) -> App:
    """Return the dashboard's application. It may block."""
    from api.daemon.web import dashboard_app  # all pages take 0.2 s and 7 MB to load: only for a dashboard

    return dashboard_app(service, config, state, stopping)


async def _tried(dashboard: asyncio.Event) -> None:
    """Wait for the first try to serve the dashboard, so that a link to it works once the daemon is ready."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await dashboard.wait()
    except TimeoutError:
        log.warning("ready, but the dashboard is not served yet")


async def peek(options: ServeOptions) -> list[dict[str, Any]]:
    """Return the plan, read from disk without a daemon and without the lock. Change nothing."""
    config, layout = options.config(), options.layout()
    choice = choose(options.backend, options.builder)
    rows = await plan_on_disk(layout, config, choice, agent_name(options.only) if options.only else None)
    return [asdict(row) for row in rows]


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """Return one warning for each HIVE_* variable that hive does not read. It is probably misspelt."""
    known = {f"HIVE_{key.upper()}" for key in Config.model_fields} | OTHER_VARIABLES
    warnings = []
    for name in sorted(key for key in environment if key.startswith("HIVE_") and key not in known):
        near = difflib.get_close_matches(name, sorted(known - INSIDE), n=1)
        what = f"did you mean {near[0]}?" if near else "see docs/reference/configuration.md"
        warnings.append(f"{name} is not a setting of hive and has no effect; {what}")
    return warnings


async def _once(daemon: Daemon, agent: AgentName | None, options: ServeOptions, stopping: asyncio.Event) -> Ending:
    service = daemon.service
    settling = asyncio.ensure_future(service.loop.settled(agent, options.seconds))
    await _first(stopping, daemon, settling)
    if daemon.failure is not None or not settling.done():
        settling.cancel()
        return Ending(Outcome.INTERRUPTED if daemon.failure is None else Outcome.FAILED)
    plan = tuple(await service.plan(agent))
    return Ending(Outcome.SETTLED if settling.result() else Outcome.TIMED_OUT, plan)


def _on_signals(stopping: asyncio.Event) -> None:
    """End the daemon in good order at the first signal, and at once at the second.

    That is safe: a start after a kill recovers the same state.
    """

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _allow_descriptors() -> None:
    """Raise the limit of open files to the highest that the system allows. Every connection of an agent needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays as it is: %s", error)
