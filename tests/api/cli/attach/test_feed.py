"""The readers of `hive attach`: what ends them is reported."""

from __future__ import annotations

from typing import Any

import pytest

from api.cli.attach.feed import Ended, Feed, Received


class Stream:
    """A stream whose next event cannot be parsed."""

    position = ""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def next(self, seconds: float) -> None:
        raise self._error

    def close(self) -> None:
        pass


class Client:
    """A client with that stream."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def stream(self, *_: Any) -> Stream:
        return Stream(self._error)


@pytest.mark.parametrize("error", [ValueError("no JSON"), RecursionError("maximum recursion depth exceeded")])
def test_what_cannot_be_parsed_ends_the_feed_with_a_word(error: Exception) -> None:
    received: list[Received] = []
    feed = Feed(Client(error), "alice", 9, received.append)  # type: ignore[arg-type]
    reader = feed._readers[0]
    reader.open()
    reader.run()
    (end,) = received
    assert isinstance(end, Ended)
    assert "the daemon sent no event" in end.error.summary
