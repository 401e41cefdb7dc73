"""What a person types about a host that was refused. It imports nothing slow: the command line uses it."""

from __future__ import annotations

from meta.network.rule import authority
from meta.text import command_line


def wanted(agent: str, host: str, port: int, count: int, problem: str = "") -> str:
    """Return what an agent wanted and may not reach, with the command that allows it, or why none does."""
    times = "once" if count == 1 else f"{count} times"
    if problem:
        return f"wanted {authority(host, port)}, {times}: {problem}"
    command = command_line("hive", "network", "allow", agent, authority(host, port))
    return f"wanted {authority(host, port)}, {times}: `{command}`"
