"""Where and as whom the harness runs: the HIVE_* variables that the backend sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BadInput
from meta.names import AgentName, agent_name


@dataclass(frozen=True, slots=True)
class Place:
    """`generation` and `nonce` are what hive launched; the directories are as seen from inside."""

    agent: AgentName
    manager: bool
    generation: str
    nonce: str
    config: Path
    run: Path
    state: Path
    agents: Path

    @property
    def link(self) -> Path:
        """The socket over which hive judges health and asks for drains."""
        return self.run / "harness.sock"

    @property
    def broker(self) -> Path:
        """The socket of the inbox."""
        return self.run / "mcp.sock"


def place_from_environment(environment: Mapping[str, str]) -> Place:
    """The place, or BadInput that names the variable which is missing or wrong."""
    hint = "hive starts the harness and sets HIVE_AGENT, HIVE_ROLE, HIVE_GENERATION and HIVE_BOOT_NONCE"
    if "HIVE_AGENT" not in environment:
        raise BadInput("HIVE_AGENT is not set", hint)
    role = environment.get("HIVE_ROLE", "agent")
    if role not in ("agent", "manager"):
        raise BadInput(f"HIVE_ROLE={role!r} is neither agent nor manager", hint)
    return Place(
        agent=agent_name(environment["HIVE_AGENT"]),
        manager=role == "manager",
        generation=environment.get("HIVE_GENERATION", ""),
        nonce=environment.get("HIVE_BOOT_NONCE", ""),
        config=Path(environment.get("HIVE_CONFIG", "/config")),
        run=Path(environment.get("HIVE_RUN", "/run/hive")),
        state=Path(environment.get("HIVE_STATE", "/state")),
        agents=Path(environment.get("HIVE_AGENTS", "/agents")),
    )
