"""The end of a container's log that says something about its harness. Pure."""

from __future__ import annotations

HARNESS = "hive-harness["
"""How lines of the harness are marked where a whole system writes to one log (nix/modules/agent/harness.nix)."""


def told_last(log: str, most: int) -> str:
    """The last `most` lines: the harness's own, where they are marked, since a system that stops has a lot to say."""
    lines = log.strip().splitlines()
    own = [line for line in lines if HARNESS in line]
    return "\n".join((own or lines)[-most:])
