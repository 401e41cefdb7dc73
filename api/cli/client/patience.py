"""Following a daemon over its restarts: a lost connection is reported once, and made again.

`Following` resumes from the number of the last event, so that no event is lost and none comes twice.
"""

from __future__ import annotations

import time

from api.cli.client.exit_codes import NoAnswer, Unreachable
from api.cli.client.http import Client, Event, Query, Stream
from api.cli.render import console
from meta.errors import HiveError, TransientError

LOST = (Unreachable, NoAnswer, TransientError)
"""The errors after which the same request may succeed, once the daemon is back."""
RETRY = 0.5
"""Seconds between two attempts."""
PATIENCE = 600.0
"""Seconds that a command waits for a daemon that stopped."""


class Patience:
    """The wait for a daemon that a command has already had an answer from."""

    def __init__(self) -> None:
        self._lost_at: float | None = None

    def wait(self, error: HiveError, most: float = RETRY) -> None:
        """Report `error` if it is the first, and pause for at most `most` seconds. Raise it after PATIENCE seconds."""
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            next_ = "trying again" if isinstance(error, TransientError) else "waiting for the daemon"
            console.progress(f"hive: {error.summary}; {next_}")
        elif now - self._lost_at > PATIENCE:
            raise error
        time.sleep(max(0.0, min(RETRY, most)))

    def end(self) -> None:
        """Note that the daemon has answered."""
        self._lost_at = None


class Following:
    """The events of a daemon, over its restarts. The first connection is not tried again: raise what `events` does."""

    def __init__(
        self, client: Client, after: str | None = None, query: Query | None = None, patience: Patience | None = None
    ) -> None:
        self.patience = patience or Patience()
        self._client = client
        self._query = query
        self._stream: Stream | None = client.events(after, query)
        self.position = self._stream.position

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def next(self, seconds: float) -> Event | None:
        """Return the next event, or None after `seconds`. Raise Unreachable if the daemon does not come back."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self._stream is None:
                    self._stream = self._client.events(self.position, self._query)
                    self.patience.end()
                event = self._stream.next(max(0.0, deadline - time.monotonic()))
            except LOST as error:
                self._close()
                self.patience.wait(error, deadline - time.monotonic())
                if time.monotonic() >= deadline:
                    return None
                continue
            self.position = self._stream.position
            return event

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
