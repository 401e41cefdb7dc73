"""A connection that `hive-egress` does not make, and why."""

from __future__ import annotations

from meta.network.verdict import Verdict


class Denied(Exception):
    """A connection that hive-egress does not make. `phrase` is one line of ASCII, for the status line."""

    def __init__(self, verdict: Verdict, phrase: str) -> None:
        super().__init__(phrase)
        self.verdict = verdict
        self.phrase = phrase
