"""The HIVE_* variables that the backend sets for the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BadInput
from meta.names import AgentName, agent_name


@dataclass(frozen=True, slots=True)
class Environment:
    """The values of the variables. `generation` and `nonce` are those of the launch. Paths are inside the container.

    `port` is the port of hive's tools on loopback, `egress_port` that of the way out; 0: any. If the CLI has another
    uid than the harness, `own` is the folder of what the harness keeps, within `state`, and `cli_files` that of the
    files that it writes for the CLI. `soft_scopes`: a CLI starts although the kernel cannot hold its scope.
    `pods` is the folder of the pods' sockets. A sub-agent has its name in `pod`, and in `cwd` the folder in which its
    CLI runs.
    """

    agent: AgentName
    manager: bool
    generation: str
    nonce: str
    config: Path
    run: Path
    state: Path
    agents: Path
    events_db: Path | None = None
    egress: Path = Path("/run/egress")
    port: int = 0
    egress_port: int = 0
    own: Path | None = None
    cli_files: Path | None = None
    soft_scopes: bool = False
    pods: Path = Path("/run/pods")
    cwd: Path | None = None
    pod: str = ""

    @property
    def link(self) -> Path:
        """Return the socket of the link. hive judges health and requests drains over it."""
        return self.run / "harness.sock"

    @property
    def events(self) -> Path:
        """Return the file of the event log."""
        return self.events_db or self.kept / "hyperhive-events.sqlite"

    @property
    def kept(self) -> Path:
        """Return the folder of what the harness keeps: its event log, the conversation, the model, a pause."""
        return self.own or self.state

    @property
    def broker(self) -> Path:
        """Return the socket of the inbox."""
        return self.run / "mcp.sock"

    @property
    def tools(self) -> Path:
        """Return the socket of hive's tools over HTTP."""
        return self.run / "http.sock"


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
        egress=Path(variables.get("HIVE_EGRESS", "/run/egress")),
        port=_port(variables.get("HIVE_PORT", "0")),
        egress_port=_port(variables.get("HIVE_EGRESS_PORT", "0")),
        own=Path(variables["HIVE_OWN"]) if variables.get("HIVE_OWN") else None,
        soft_scopes=variables.get("HIVE_SOFT_SCOPES") == "true",
        cli_files=Path(variables["HIVE_CLI_FILES"]) if variables.get("HIVE_CLI_FILES") else None,
        pods=Path(variables.get("HIVE_PODS", "/run/pods")),
        pod=variables.get("HIVE_POD", ""),
        cwd=Path(variables["HIVE_POD_CWD"]) if variables.get("HIVE_POD_CWD") else None,
    )


def _port(text: str) -> int:
    """Return the port. One that is none is 0: it is a wish only, and no reason not to start."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535 else 0
