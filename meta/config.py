"""The daemon's settings: deadlines, limits, back-off. They come from HIVE_* variables or the settings file.

Every duration is in seconds. Tests use values below a second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meta.errors import BadInput

INBOX_LIMIT = 10_000
INBOX_BYTES = 64 * 2**20
_RUNTIMES = ["script", "claude", "codex", "gemini", "opencode", "claude-acp"]
"""Those of meta.agent_toml.runtimes with which an agent can begin."""
_RUNTIME = f"^({'|'.join(_RUNTIMES)})$"
HIGHEST_START = 2_147_352_575 - 65_535
"""The start of the last range that the root helper takes: systemd has uids of its own after it."""


class Config(BaseModel):
    """The settings, validated when the daemon starts. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resync: float = Field(30.0, gt=0, description="hive looks at every agent at least this often")
    health_deadline: float = Field(60.0, gt=0, description="from start to healthy")
    health_stable: float = Field(1.0, ge=0, description="how long the harness must stay connected to be healthy")
    reconnect_grace: float = Field(
        15.0, ge=0, description="for this long after a daemon restart a missing link counts as unknown"
    )
    drain_deadline: float = Field(60.0, ge=0, description="how long an agent may finish its turn before it is stopped")
    turn_grace: float = Field(
        5.0,
        gt=0,
        description="how long a turn over its limit may take to end by itself, and then because hive asks, "
        "before the agent is stopped",
    )
    stop_grace: float = Field(10.0, ge=0, description="between TERM and KILL")
    build_deadline: float = Field(1800.0, gt=0, description="one build")
    fetch_deadline: float = Field(60.0, gt=0, description="one fetch from a proposed repo")
    finds_per_minute: int = Field(
        20, ge=1, description="tips that become proposals by being seen, per push repo or work tree"
    )
    push_group: str = Field("hive", description="members of this group may push to the push repos")
    git_deadline: float = Field(30.0, gt=0, description="one git command in hive's own repos")
    builds: int = Field(2, ge=1, description="builds at the same time")
    rebuild_wave: int = Field(5, ge=1, description="agents that `hive rebuild --all` rebuilds at the same time")
    auto_update: str = Field(
        "off",
        pattern="^(off|idle|all)$",
        description="hive rebuilds what an older hive built: never, between two turns, or after a drain",
    )
    starts: int = Field(4, ge=1, description="containers of backend nixos that boot at the same time")
    helper_socket: str = Field("/run/hive-privileged/socket", description="the root helper of backend nixos")
    crash_limit: int = Field(5, ge=1, description="crashes in a row before hive gives an agent up")
    crash_backoff: float = Field(1.0, gt=0, description="wait after the first crash; doubles each time")
    crash_backoff_max: float = Field(300.0, gt=0, description="the longest wait between restarts")
    crash_reset: float = Field(600.0, gt=0, description="after this time healthy the crashes are forgotten")
    retry_backoff: float = Field(1.0, gt=0, description="wait after a transient error; doubles each time")
    retry_backoff_max: float = Field(60.0, gt=0, description="the longest wait after transient errors")
    keep_generations: int = Field(5, ge=2, description="generations of builder plain kept per agent")
    max_pack_bytes: int = Field(64 * 2**20, ge=1, description="largest pack a proposal may bring")
    max_file_bytes: int = Field(8 * 2**20, ge=1, description="largest file in a proposal")
    max_tree_bytes: int = Field(
        128 * 2**20, ge=1, le=512 * 2**20, description="largest sum of a proposal's files, as they are checked out"
    )
    max_files: int = Field(10_000, ge=1, description="most files in a proposal")
    max_line_bytes: int = Field(
        8 * 2**20, ge=1024, description="longest line on a socket; a body of 1 MiB may be six times as long in JSON"
    )
    inbox_limit: int = Field(INBOX_LIMIT, ge=1, description="most undelivered messages per inbox")
    inbox_bytes: int = Field(
        INBOX_BYTES, ge=2**20, description="most bytes of undelivered or unacknowledged messages per inbox"
    )
    reserve_mib: int = Field(
        16, ge=0, description="space that hive keeps for itself on a full disk, MiB; at most 1 % of the file system"
    )
    agent_disk_mib: int = Field(
        10_240, ge=0, description="most space of an agent's files, MiB; at most half of the file system; 0: no limit"
    )
    log_format: str = Field(
        "auto",
        pattern="^(auto|console|journal|json)$",
        description="lines of the log; auto is journal below systemd, else console",
    )
    uid_start: int = Field(524_288, ge=65_536, le=HIGHEST_START, description="first uid given to agents (65,536 each)")
    fixed_uids: bool = Field(True, description="agents run under their own uid when the daemon is root")
    isolation: str = Field(
        "required",
        pattern="^(required|unsafe-none)$",
        description="unsafe-none lets agents run without bubblewrap",
    )
    soft_scopes: bool = Field(
        False, description="an agent with a scope takes turns also where the kernel cannot hold the scope"
    )
    agent_programs: str = Field(
        "",
        description="files and folders with programs for local agents, separated by `:`, besides the coding agents on "
        "the daemon's PATH",
    )
    declared: str = Field(
        "", description="a file with the agents that the host's configuration declares; empty: none are declared"
    )
    agent_modules: str = Field(
        "", description="flake URL of a folder with NixOS modules for every agent's container; empty: none"
    )
    default_runtime: str = Field(
        "script", pattern=_RUNTIME, description="the runtime of a new agent", examples=[*_RUNTIMES]
    )
    manager_runtime: str = Field(
        "script", pattern=_RUNTIME, description="the runtime of a new manager", examples=[*_RUNTIMES]
    )
    prebuild: bool = Field(False, description="builder nix builds a proposal before the decision")
    preview_wait: float = Field(60.0, gt=0, description="how long an approval waits for its preview")
    evaluation_deadline: float = Field(120.0, gt=0, description="one evaluation of builder nix")
    evaluation_memory_mib: int = Field(4096, ge=256, description="memory of one evaluation, MiB")
    nixpkgs: str = Field("", description="flake URL of nixpkgs for the meta flake; empty leaves the input out")
    dashboard_port: int = Field(0, ge=0, le=65535, description="port of the dashboard; 0: there is no dashboard")
    dashboard_address: str = Field(
        "127.0.0.1",
        description="address of the dashboard; another than loopback needs TLS or HIVE_DASHBOARD_BEHIND_PROXY",
    )
    dashboard_origin: str = Field(
        "",
        description="the one origin by which browsers reach the dashboard; empty: http://localhost:PORT",
        examples=["https://hive.example.org"],
    )
    dashboard_name: str = Field("", max_length=40, description="the name of this hive; empty: that of the host")
    dashboard_tls_cert: str = Field("", description="file with the certificate chain of the dashboard; empty: no TLS")
    dashboard_tls_key: str = Field("", description="file with the key of that certificate")
    dashboard_behind_proxy: bool = Field(False, description="a reverse proxy does TLS for the dashboard")
    dashboard_proxies: str = Field(
        "",
        description="addresses of reverse proxies, separated by spaces, whose login header counts",
        examples=["127.0.0.1 ::1"],
    )
    dashboard_login_header: str = Field(
        "",
        pattern="^[A-Za-z0-9-]{0,60}$",
        description="header in which those proxies name the user who has logged in; empty: hive's own login",
        examples=["Remote-User"],
    )
    dashboard_session_hours: float = Field(
        168.0, gt=0, le=8760, description="how long a login lasts without use; at most four times as long with it"
    )
    dashboard_approve_by_passkey: bool = Field(
        False, description="an approval needs a touch of a passkey; root may approve with `--without-passkey`"
    )
    notify: str = Field(
        "", repr=False, description="where new rows of `hive attention` are sent: a webhook, an ntfy topic or a command"
    )
    notify_file: str = Field("", description="a file with the value of HIVE_NOTIFY, which may hold a token")
    notify_min: str = Field(
        "normal",
        pattern="^(critical|high|normal|low)$",
        description="the least severity that is notified",
        examples=["critical", "high", "normal", "low"],
    )
    notify_quiet: str = Field(
        "",
        pattern="^([0-9][0-9]:[0-9][0-9]-[0-9][0-9]:[0-9][0-9])?$",
        description="hours (22:00-07:00, local time) in which only critical rows are notified, the rest afterwards",
        examples=["22:00-07:00"],
    )
    notify_group: float = Field(10.0, ge=0, le=3600, description="rows of this time are notified together")
    notify_per_hour: int = Field(12, ge=1, description="notifications within an hour")
    skip_meta_migration: bool = Field(
        False, description="leave agents of an older hive as they are for now (docs/howto/older-layout.md)"
    )
    network_file: str = Field(
        "", description="the operator's file for the way out; empty: network.toml in the state directory"
    )
    network_ceiling: str = Field(
        "",
        description="hosts and groups, separated by spaces, beyond which no agent.toml may reach; empty: no ceiling",
        examples=["*.example.org @python"],
    )
    egress_control: str = Field(
        "", description="the control socket of hive-egress; empty: hive-egress/control.sock in the runtime directory"
    )
    egress_start: bool = Field(True, description="the daemon starts hive-egress if none answers")
    hyperhive: str = Field("", description="flake URL of hive itself for the meta flake; empty leaves the input out")


def config_from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """Return the settings in HIVE_<KEY> variables (HIVE_RESYNC=5). Raise BadInput with the key that is wrong."""
    values = {
        key: environment[f"HIVE_{key.upper()}"] for key in Config.model_fields if f"HIVE_{key.upper()}" in environment
    }
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        examples = Config.model_fields[key].examples if key in Config.model_fields else None
        if first["type"] == "string_pattern_mismatch" and examples:
            hint = f"write it as {' or '.join(map(str, examples))}"
            raise BadInput(f"HIVE_{key.upper()}={values.get(key)!r} does not have its form", hint) from error
        raise BadInput(
            f"HIVE_{key.upper()}={values.get(key)!r}: {first['msg']}", "see docs/reference/configuration.md"
        ) from error
