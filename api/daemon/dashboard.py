"""The dashboard in the daemon: its listener is tried for ever, and no trouble with it stops the daemon."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from api.http.asgi import App
from api.ui.server import TcpServer, listen
from meta.binding import Binding, binding_of
from meta.config import Config
from meta.errors import BadInput, HiveError
from reconciler.common.certificate import DAY, RENEWED_BEFORE, context_of, expiry, stamp
from reconciler.common.rounds import describe
from reconciler.common.tasks import Background
from reconciler.telemetry.dashboard import DashboardState

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds between two tries to listen: doubled each time."""
RENEWAL = 10.0
"""Seconds between two looks at the files of the certificate."""
SETTINGS, LISTEN, CERTIFICATE = "settings", "listen", "certificate"
"""The parts that can fail."""

MakeApp = Callable[[], App]
"""Makes the application of the dashboard, in a thread. It may raise HiveError."""


class Certificates:
    """The TLS context of new connections. A changed file counts from the next `renew` on."""

    def __init__(self, binding: Binding) -> None:
        self._files = (binding.certificate, binding.key) if binding.certificate and binding.key else None
        self._stamp: object = None
        self._context: ssl.SSLContext | None = None
        self.until = math.inf
        """When the certificate ends, in Unix seconds."""

    def context(self) -> ssl.SSLContext | None:
        """Return the context; None without TLS."""
        return self._context

    def renew(self) -> bool:
        """Load the files if they changed, and return True if so. Raise PermanentError; the last context then stays."""
        if self._files is None:
            return False
        now = stamp(*self._files)
        if now == self._stamp:
            return False
        context, until = context_of(*self._files), expiry(self._files[0])
        self._context, self.until, self._stamp = context, until, now
        return True


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The dashboard of one daemon."""

    binding: Binding
    make_app: MakeApp
    state: DashboardState
    tried: asyncio.Event
    """Set once the first try to serve is over."""

    async def run(self) -> None:
        """Serve until cancelled. Try again for ever what fails."""
        certificates, wait = Certificates(self.binding), FIRST_WAIT
        app: App | None = None
        while True:
            try:
                if app is None:
                    app = await asyncio.to_thread(self.make_app)
                await asyncio.to_thread(certificates.renew)
                sockets = listen(self.binding.addresses, self.binding.port)
            except Exception as error:  # noqa: BLE001 (the daemon goes on without; it is logged, and shown in status)
                self._fail(error)
                self.tried.set()
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                server = TcpServer(app, sockets, tls=certificates.context, near=self.binding.proxies)
                await self._serve(server, certificates)

    async def _serve(self, server: TcpServer, certificates: Certificates) -> None:
        server.start()
        self.state.serve()
        self.state.mend(LISTEN)
        self.tried.set()
        log.info("the dashboard is at %s (%s)", self.binding.origin, self.binding.places)
        try:
            while True:
                await self._renew(certificates)
                await asyncio.sleep(RENEWAL)
        finally:
            self.state.stop()
            await server.stop()

    async def _renew(self, certificates: Certificates) -> None:
        try:
            if await asyncio.to_thread(certificates.renew):
                log.info("the dashboard uses the changed certificate %s", self.binding.certificate)
        except HiveError as error:
            self.state.fail(CERTIFICATE, f"the dashboard keeps its old certificate: {describe(error)}")
            return
        if certificates.until - time.time() > RENEWED_BEFORE * DAY:
            self.state.mend(CERTIFICATE)
        else:
            end = time.strftime("%Y-%m-%d %H:%M", time.gmtime(certificates.until))
            self.state.fail(CERTIFICATE, f"the dashboard's certificate ends at {end} UTC, and was not renewed")

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, (OSError, HiveError)):
            log.error("the dashboard cannot be made", exc_info=error, extra={"limited": "the dashboard"})
        self.state.fail(LISTEN, f"the dashboard is not served: {_reason(self.binding, error)}; hive tries it again")


@asynccontextmanager
async def serve_dashboard(
    background: Background, config: Config, state: DashboardState, stopping: asyncio.Event, make_app: MakeApp
) -> AsyncIterator[asyncio.Event]:
    """Serve the dashboard that the settings ask for inside the block. At its end `stopping` is set: streams end.

    The event that the block gets is set once the first try is over.
    """
    tried = asyncio.Event()
    try:
        binding = binding_of(config)
    except BadInput as error:
        state.fail(SETTINGS, f"the dashboard is not served: {describe(error)}")
        binding = None
    if binding is None:
        tried.set()
        yield tried
        return
    state.expect(binding.origin)
    task = background.start("dashboard", Dashboard(binding, make_app, state, tried).run())
    try:
        yield tried
    finally:
        stopping.set()
        await background.stop(task)


def _reason(binding: Binding, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {binding.port} is in use by another process (`ss -ltnp 'sport = :{binding.port}'` names it)"
    if isinstance(error, OSError):
        return f"cannot listen on {binding.places}: {error.strerror or error}"
    return describe(error)
