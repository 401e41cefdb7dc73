"""What happens to one agent, as it comes from the daemon: its live events, and hive's own events about it.

This is the only part of `hive attach` that knows how events are transported. Each stream is read by a thread of its
own, which goes on over restarts of the daemon, from the last event that it had. Whatever it gets is put into a queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.cli.client.http import Client, Event, Query, Stream
from api.cli.client.patience import LOST, PATIENCE, RETRY
from meta.errors import HiveError

TICK = 1.0
"""Seconds after which a reader looks whether it should end."""


@dataclass(frozen=True, slots=True)
class LiveCame:
    """A live event: its JSON object, and its time in Unix seconds."""

    event: object
    at: float


@dataclass(frozen=True, slots=True)
class HiveCame:
    """An event of hive about the agent."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Missing:
    """Live events are missing here: they are not kept any more, or this reader was too slow."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon is gone. It is waited for."""

    summary: str


@dataclass(frozen=True, slots=True)
class Back:
    """The daemon answers again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The feed is over: the agent is gone, or the daemon did not come back."""

    error: HiveError


@dataclass(frozen=True, slots=True)
class PodCame:
    """An event of the pod protocol: its JSON object."""

    event: dict[str, Any]


Received = LiveCame | PodCame | HiveCame | Missing | Lost | Back | Ended
Put = Callable[[Received], None]


class Feed:
    """The feed of one agent, from when `open` returns until `close`. `put` is called by its threads.

    `newest`: how many of the newest live events come first. With `pod` it has the events of that sub-agent instead.
    """

    def __init__(self, client: Client, agent: str, newest: int, put: Put, pod: str = "") -> None:
        self._closing = threading.Event()
        if pod:
            path = f"/api/agents/{agent}/pods/{pod}/events"
            self._readers = [_Reader(client, path, {}, pod_event, put, self._closing, reports=True)]
            return
        live: Query = {"newest": newest}
        hive: Query = {"agent": agent}
        known = Known()
        self._readers = [
            _Reader(client, f"/api/agents/{agent}/live", live, known.of, put, self._closing, reports=True),
            _Reader(client, "/api/events", hive, hive_event, put, self._closing, reports=False),
        ]

    def open(self) -> None:
        """Connect, and begin to read. Raise what the first request raises."""
        for reader in self._readers:
            reader.open()
        for reader in self._readers:
            threading.Thread(target=reader.run, daemon=True).start()

    def close(self) -> None:
        """End the readers. They end within TICK seconds, or with the process."""
        self._closing.set()


class Known:
    """The live events that came already: after a gap the newest ones come again."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def of(self, event: Event) -> Received | None:
        """Return what a server-sent event of the live stream means; None if it came before, or means nothing."""
        if event.kind == "resync":
            return Missing()
        if event.kind != "live":
            return None
        log, _, number = event.seq.rpartition("-")
        id = int(number) if number.isdigit() else 0
        if id <= self._last.get(log, -1):
            return None
        self._last[log] = id
        at = event.data.get("ts")
        return LiveCame(event.data.get("event"), float(at) if isinstance(at, (int, float)) else 0.0)


def hive_event(event: Event) -> Received | None:
    """Return what a server-sent event of hive's own stream means."""
    return None if event.kind in ("ready", "resync", "snapshot") else HiveCame(event.kind, event.data)


def pod_event(event: Event) -> Received | None:
    """Return what a server-sent event of a pod means. A pod that ended is over: nothing resumes it."""
    if event.kind == "end":
        return Ended(HiveError(str(event.data.get("reason", "the pod has ended"))))
    return PodCame(event.data) if event.kind == "pod" else None


class _Reader:
    """One stream, read until `closing` is set. With `reports` it puts when the daemon is lost and back."""

    def __init__(
        self,
        client: Client,
        path: str,
        query: Query,
        meaning: Callable[[Event], Received | None],
        put: Put,
        closing: threading.Event,
        *,
        reports: bool,
    ) -> None:
        self._client = client
        self._path = path
        self._query = query
        self._meaning = meaning
        self._put = put
        self._closing = closing
        self._reports = reports
        self._stream: Stream | None = None
        self._position = ""
        self._lost_at: float | None = None

    def open(self) -> None:
        self._stream = self._client.stream(self._path, self._query, self._position)
        self._position = self._stream.position or self._position

    def run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._stream is None:
                    self.open()
                    self._come_back()
                if self._stream is not None:
                    self._read(self._stream)
            except LOST as error:
                if self._lose(error):
                    return
            except (HiveError, ValueError, RecursionError) as error:  # the agent is gone, or what came is no event
                self._end(error if isinstance(error, HiveError) else HiveError(f"the daemon sent no event: {error}"))
                return
        self._close()

    def _read(self, stream: Stream) -> None:
        while not self._closing.is_set():
            event = stream.next(TICK)
            self._position = stream.position or self._position
            received = self._meaning(event) if event is not None else None
            if received is not None:
                self._put(received)

    def _lose(self, error: HiveError) -> bool:
        """Report the loss once, and pause. Return True if the daemon was waited for long enough."""
        self._close()
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            if self._reports:
                self._put(Lost(error.summary))
        elif now - self._lost_at > PATIENCE:
            self._end(error)
            return True
        self._closing.wait(RETRY)
        return False

    def _come_back(self) -> None:
        if self._lost_at is not None and self._reports:
            self._put(Back())
        self._lost_at = None

    def _end(self, error: HiveError) -> None:
        self._close()
        if self._reports:
            self._put(Ended(error))

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
