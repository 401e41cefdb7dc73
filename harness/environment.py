"""What the harness is told by whoever starts it: HIVE_* variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BadInput


@dataclass(frozen=True, slots=True)
class Environment:
    """Who this harness is, and where things are. `run` has the sockets, `agents` the proposed work trees."""

    agent: str
    role: str
    generation: str
    nonce: str
    config: Path
    run: Path
    state: Path
    agents: Path
    home: str

    @property
    def link_socket(self) -> Path:
        """The link with hive."""
        return self.run / "harness.sock"

    @property
    def inbox_socket(self) -> Path:
        """The line protocol: messages and requests."""
        return self.run / "mcp.sock"


def environment(variables: Mapping[str, str]) -> Environment:
    """The environment in `variables`; BadInput names the one that is missing."""
    for name in ("HIVE_AGENT", "HIVE_GENERATION", "HIVE_BOOT_NONCE"):
        if not variables.get(name):
            raise BadInput(f"{name} is not set", "the harness is started by hive, which sets it")
    return Environment(
        agent=variables["HIVE_AGENT"],
        role=variables.get("HIVE_ROLE", "agent"),
        generation=variables["HIVE_GENERATION"],
        nonce=variables["HIVE_BOOT_NONCE"],
        config=Path(variables.get("HIVE_CONFIG", "/config")),
        run=Path(variables.get("HIVE_RUN", "/run/hive")),
        state=Path(variables.get("HIVE_STATE", "/state")),
        agents=Path(variables.get("HIVE_AGENTS", "/agents")),
        home=variables.get("HOME", "/nonexistent"),
    )
