"""Plays a recorded stream of an agent of the Agent Client Protocol to a client that asks in its own way.

A stream is a file of JSON lines: {"header": ...}, {"t", "dir": ">", "msg"} of the client, {"t", "dir": "<", "msg"} of
the agent. A further header means that the agent was killed there and started again. A request of the client is answered
with what the agent wrote until the client's next request. One that was not recorded is answered with {}.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_SAME = {"session/resume": "session/load"}


def load(path: Path) -> list[list[Json]]:
    """Return the entries of a stream for each process of the agent."""
    processes: list[list[Json]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(text)
        if "header" in entry:
            processes.append([])
        else:
            processes[-1].append(entry)
    return processes


def written(path: Path) -> list[bytes]:
    """Return every line that the agent wrote."""
    return [json.dumps(entry["msg"]).encode() for part in load(path) for entry in part if entry["dir"] == "<"]


class Player:
    """One process of the agent."""

    def __init__(self, entries: list[Json], *, dies: bool = False) -> None:
        self._entries = deque(entries)
        self._numbers: dict[Any, Any] = {}
        self._dies = dies

    @property
    def dead(self) -> bool:
        """Return True if the agent was killed here."""
        return self._dies and not self._entries

    def take(self, message: Json) -> list[Json]:
        """Return what the agent writes when the client sends `message`."""
        method, number = message.get("method"), message.get("id")
        if method is None or not self._is_next(method):
            return [] if method is None or number is None else [{"jsonrpc": "2.0", "id": number, "result": {}}]
        if number is not None:
            self._numbers[self._entries[0]["msg"].get("id")] = number
        self._entries.popleft()
        return list(self._until_the_next())

    def _is_next(self, method: str) -> bool:
        while self._entries and self._entries[0]["msg"].get("method") is None:
            self._entries.popleft()  # the recorded client answered a request of the agent
        return bool(self._entries) and self._entries[0]["msg"]["method"] == _SAME.get(method, method)

    def _until_the_next(self) -> list[Json]:
        lines: list[Json] = []
        open_ = True
        while self._entries:
            entry = self._entries[0]
            message = entry["msg"]
            if entry["dir"] == ">":
                again = message.get("method") == "session/prompt" and open_ and lines
                if message.get("method") is not None and not again:
                    break  # but a second prompt while one is open is not sent by every client
                self._entries.popleft()
                continue
            self._entries.popleft()
            if "method" not in message:
                if message["id"] not in self._numbers:
                    continue
                message = {**message, "id": self._numbers[message["id"]]}
                open_ = False
            lines.append(message)
        return lines
