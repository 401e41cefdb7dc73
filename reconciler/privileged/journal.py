"""What the helper says about itself: one line of JSON per event on stderr, where systemd's journal takes it."""

from __future__ import annotations

import json
import sys
import threading
from typing import TextIO

_SHOWN = 400


class Journal:
    """Safe for threads. A reader that is gone is not an error."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._guard = threading.Lock()

    def say(self, event: str, **facts: object) -> None:
        """Write one event. Long texts are cut; ASCII only, so nothing in a request can forge a line."""
        table = {key: fact[:_SHOWN] if isinstance(fact, str) else fact for key, fact in facts.items()}
        with self._guard:
            try:
                print(json.dumps({"event": event, **table}), file=self._stream, flush=True)
            except (OSError, ValueError):
                return
