"""The system bus: one connection that reconnects by itself, calls with a deadline, signals as plain values.

While it is disconnected, no state is known and no end is reported. This is the only module that imports dbus-fast.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

from meta.errors import PermanentError, TransientError
from reconciler.common.tasks import Background

log = logging.getLogger(__name__)

CALL_SECONDS = 20.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""Seconds: long enough to read a thousand units after the bus is connected."""

BACKOFF = (0.05, 5.0)
"""Seconds: the first and the longest wait between two attempts to connect."""

_LOST = (OSError, EOFError, AuthError, DBusError, TransientError, TimeoutError)
DRIVER, DRIVER_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"


class BusError(PermanentError):
    """An error answer to a call."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal. `body` has plain values without variants."""

    path: str
    interface: str
    member: str
    body: tuple[object, ...]


class Bus:
    """The system bus. `address` is as in DBUS_SYSTEM_BUS_ADDRESS; None is the system's. `background` runs its task."""

    def __init__(self, background: Background, address: str | None = None) -> None:
        self._background = background
        self._address = address
        self._bus: MessageBus | None = None
        self._task: asyncio.Task[None] | None = None
        self._reported: str | None = None
        self._connected = asyncio.Event()
        self._ready = asyncio.Event()

    @property
    def ready(self) -> bool:
        """True while the bus is connected and `on_up` has returned."""
        return self._ready.is_set()

    async def open(
        self,
        rules: Sequence[str],
        on_signal: Callable[[Signal], None],
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[], None],
    ) -> None:
        """Connect, subscribe to the match `rules` and await `on_up`, again after each lost connection.

        Raise TransientError if it is not connected within CONNECT_SECONDS, or if `on_up` takes longer than
        READ_SECONDS.
        """
        self._task = self._background.start("system bus", self._stay_connected(rules, on_signal, on_up, on_down))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connected.wait()
            async with asyncio.timeout(READ_SECONDS):
                await self._ready.wait()
        except TimeoutError as error:
            await self.close()
            raise TransientError("the system bus cannot be reached", "see whether dbus and systemd run") from error

    async def close(self) -> None:
        """Disconnect and do not reconnect."""
        if self._task is not None:
            await self._background.stop(self._task)
            self._task = None

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *body: object
    ) -> tuple[object, ...]:
        """Call a method and return the plain values of its answer. Raise TransientError without a bus, or BusError."""
        bus = self._bus
        if bus is None or not bus.connected:
            raise TransientError("the system bus is not connected", "hive tries again")
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        try:
            async with asyncio.timeout(CALL_SECONDS):
                reply = await bus.call(message)
        except (OSError, EOFError, TimeoutError) as error:
            raise TransientError(f"the system bus did not answer {member}: {error}") from error
        if reply is None or reply.message_type is MessageType.ERROR:
            what = f"{reply.error_name}: {reply.body}" if reply is not None else "no answer"
            raise BusError(f"{member} failed on the system bus: {what}")
        return tuple(_without_variants(value) for value in reply.body)

    async def _stay_connected(
        self,
        rules: Sequence[str],
        on_signal: Callable[[Signal], None],
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[], None],
    ) -> None:
        pause = BACKOFF[0]
        while True:
            try:
                await self._connect(rules, on_signal)
                self._connected.set()
                await on_up()
                self._ready.set()
                self._report(None)
                pause = BACKOFF[0]
                if self._bus is not None:
                    await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
                self._report("the system bus is not connected")
            except _LOST as error:
                self._report(f"the system bus is not connected ({error or type(error).__name__})")
            except BusError as error:
                self._report(f"systemd does not answer as expected: {error.summary}")
            finally:
                self._ready.clear()
                self._drop()
            on_down()
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF[1])

    def _report(self, trouble: str | None) -> None:
        """Log `trouble` once, as long as it stays the same. None: the trouble is over."""
        if trouble != self._reported and trouble is not None:
            log.warning("%s: containers are shown as they were last seen", trouble)
        elif trouble != self._reported:
            log.info("the system bus is connected again")
        self._reported = trouble

    async def _connect(self, rules: Sequence[str], on_signal: Callable[[Signal], None]) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            self._bus = bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM)
            await bus.connect()
        bus.add_message_handler(lambda message: _pass_on(message, on_signal))
        for rule in rules:
            await self.call(DRIVER, DRIVER_PATH, DRIVER, "AddMatch", "s", rule)

    def _drop(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None and bus.connected:
            with contextlib.suppress(*_LOST, InvalidAddressError):
                bus.disconnect()


def _pass_on(message: Message, on_signal: Callable[[Signal], None]) -> None:
    if message.message_type is MessageType.SIGNAL:
        body = tuple(_without_variants(value) for value in message.body)
        on_signal(Signal(message.path or "", message.interface or "", message.member or "", body))


def _without_variants(value: object) -> object:
    """Return the value without variants at any depth."""
    match value:
        case Variant():
            return _without_variants(value.value)
        case dict():
            return {key: _without_variants(inner) for key, inner in value.items()}
        case list():
            return [_without_variants(inner) for inner in value]
        case _:
            return value
