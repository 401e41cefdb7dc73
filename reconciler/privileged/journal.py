"""The helper's log: one line of JSON per event on stderr, which systemd's journal reads."""

from __future__ import annotations

import json
import sys
import threading
from typing import TextIO

_TEXT_LIMIT = 400


class Journal:
    """The log. Safe for threads. If its reader has ended, that is not an error."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._guard = threading.Lock()

    def write(self, event: str, **facts: object) -> None:
        """Write one event. Long texts are cut. The text is ASCII only, so a request cannot forge a line."""
        table = {key: fact[:_TEXT_LIMIT] if isinstance(fact, str) else fact for key, fact in facts.items()}
        with self._guard:
            try:
                print(json.dumps({"event": event, **table}), file=self._stream, flush=True)
            except (OSError, ValueError):
                return
