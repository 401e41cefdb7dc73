"""The HIVE_* variables that the backend sets for the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BadInput
from meta.names import AgentName, agent_name


@dataclass(frozen=True, slots=True)
class Environment:
    """The values of the variables. `generation` and `nonce` are those of the launch. Paths are inside the container."""

    agent: AgentName
    manager: bool
    generation: str
    nonce: str
    config: Path
    run: Path
    state: Path
    agents: Path
    events_db: Path | None = None

    @property
    def link(self) -> Path:
        """Return the socket of the link. hive judges health and requests drains over it."""
        return self.run / "harness.sock"

    @property
    def events(self) -> Path:
        """Return the file of the event log."""
        return self.events_db or self.state / "hyperhive-events.sqlite"

    @property
    def broker(self) -> Path:
        """Return the socket of the inbox."""
        return self.run / "mcp.sock"


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Return the environment. Raise BadInput with the name of a variable that is missing or wrong."""
    hint = "hive starts the harness and sets HIVE_AGENT, HIVE_ROLE, HIVE_GENERATION and HIVE_BOOT_NONCE"
    if "HIVE_AGENT" not in variables:
        raise BadInput("HIVE_AGENT is not set", hint)
    role = variables.get("HIVE_ROLE", "agent")
    if role not in ("agent", "manager"):
        raise BadInput(f"HIVE_ROLE={role!r} is neither agent nor manager", hint)
    return Environment(
        agent=agent_name(variables["HIVE_AGENT"]),
        manager=role == "manager",
        generation=variables.get("HIVE_GENERATION", ""),
        nonce=variables.get("HIVE_BOOT_NONCE", ""),
        config=Path(variables.get("HIVE_CONFIG", "/config")),
        run=Path(variables.get("HIVE_RUN", "/run/hive")),
        state=Path(variables.get("HIVE_STATE", "/state")),
        agents=Path(variables.get("HIVE_AGENTS", "/agents")),
        events_db=Path(variables["HYPERHIVE_EVENTS_DB"]) if variables.get("HYPERHIVE_EVENTS_DB") else None,
    )
