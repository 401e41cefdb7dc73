"""Whether `hive-harness serve` needs a keeper. Cheap, because hive waits for the hello."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "HIVE_KEEPER"
"""The variable by which a process that a keeper knows finds its socket: a descriptor."""


def wanted(variables: Mapping[str, str]) -> bool:
    """Return True if agent.toml allows sub-agents and there is no keeper yet.

    Of a file that is wrong nothing is said here: the harness reports it.
    """
    if VARIABLE in variables:
        return False
    try:
        with open(f"{variables.get('HIVE_CONFIG', '/config')}/agent.toml", "rb") as file:  # noqa: PTH123
            data = file.read()
    except OSError:
        return False
    return b"pods" in data and _most(data) > 0


def _most(data: bytes) -> int:
    """Return `[pods] max`, 0 if it is not there or no number."""
    import tomllib

    from meta.agent_toml.shape import check_shape
    from meta.errors import BadInput

    try:
        check_shape(data, "agent.toml")
        pods = tomllib.loads(data.decode("utf-8")).get("pods")
    except (BadInput, ValueError, RecursionError):
        return 0
    most = pods.get("max") if isinstance(pods, dict) else None
    return most if type(most) is int else 0
