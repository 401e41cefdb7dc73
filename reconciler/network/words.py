"""What a person types about a host that was refused. It imports nothing slow: the command line uses it."""

from __future__ import annotations

from meta.network.rule import Rule
from meta.text import command_line


def wanted_rule(host: str, port: int) -> str:
    """Return the rule for exactly a canonical host and a port that were refused: `crates.io:443`."""
    return Rule(host, (port,)).text


def shown_host(host: str, port: int) -> str:
    """Return a canonical host and its port as text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def wanted(agent: str, host: str, port: int, count: int, problem: str = "") -> str:
    """Return what an agent wanted and may not reach, with the command that allows it, or why none does."""
    times = "once" if count == 1 else f"{count} times"
    if problem:
        return f"wanted {shown_host(host, port)}, {times}: {problem}"
    command = command_line("hive", "network", "allow", agent, wanted_rule(host, port))
    return f"wanted {shown_host(host, port)}, {times}: `{command}`"
