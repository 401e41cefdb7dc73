"""`hive serve`: the daemon with its sockets, from start to the signal that ends it. Agents go on without it."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.codes import Code
from api.cli.progress import GIVEN_UP
from api.notify import notify
from api.operator import serve_operator
from api.sockets import AgentSockets
from meta.config import config_from_environment
from meta.layout import Layout
from meta.names import AgentName, agent_name
from reconciler.daemon import Daemon

if TYPE_CHECKING:
    from reconciler.service import Service

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where and how. `once`: reconcile (`only` one agent) for at most `seconds`, then end."""

    state: Path
    runtime: Path
    backend: str = "local"
    builder: str = "plain"
    once: bool = False
    only: str | None = None
    seconds: float = 600.0

    def layout(self) -> Layout:
        """The paths below the two directories; symlinks in the way to them are followed here, once."""
        return Layout(self.state.resolve(), self.runtime.resolve())


async def serve(options: ServeOptions) -> int:
    """Run until SIGTERM or SIGINT (or, with `once`, until nothing is left to do). Returns an exit code.

    Raises HiveError when the daemon cannot start: another one has the state directory, a setting is wrong.
    """
    _log_to_stderr()
    _allow_descriptors()
    config, layout = config_from_environment(), options.layout()
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
            return await _once(daemon.service, only, options.seconds, stopping)
        async with serve_operator(daemon.service, layout, config, stopping):
            await daemon.start()
            notify("READY=1")
            await _welcome(daemon.service)
            await stopping.wait()
            notify("STOPPING=1")
            log.info("stopping; agents go on")
    finally:
        await sockets.mute()
        await daemon.close()
        await sockets.close_all()
    return Code.OK


async def peek(options: ServeOptions) -> list[dict[str, Any]]:
    """The plan, read from disk without a daemon, without the lock, and without changing anything."""
    config, layout = config_from_environment(), options.layout()
    daemon = Daemon(layout, config, AgentSockets(layout, config), backend=options.backend, builder=options.builder)
    rows = await daemon.peek(agent_name(options.only) if options.only else None)
    return [asdict(row) for row in rows]


async def _once(service: Service, agent: AgentName | None, seconds: float, stopping: asyncio.Event) -> int:
    settling = asyncio.ensure_future(service.settled(agent, seconds))
    interrupted = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({settling, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    if not settling.done():
        settling.cancel()
        return Code.INTERRUPTED
    interrupted.cancel()
    rows = await service.plan(agent)
    for row in rows:
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
    _say("  hive propose alice --from alice; hive diff 1; hive approve 1 --wait")
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


def _log_to_stderr() -> None:
    """Lines for the journal, or with the time for a terminal; a broken stderr is not an error of hive's."""
    stamped = "JOURNAL_STREAM" not in os.environ
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=("%(asctime)s " if stamped else "") + "%(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
