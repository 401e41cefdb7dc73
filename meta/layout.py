"""Every path of a hive, in one place.

STATE (owned by the daemon, with the exceptions below)
    lock  hive.db  owner                    flock, database, id of this state directory
    live.sqlite                             a bounded copy of the agents' live events
    rollout.json                            the last rebuild of all agents, wave by wave
    migration.json                          the agents of an older hive that were left as they are, and why
    meta/.git                               the meta repo (bare); its files are exported beside it
    applied/<n>/.git                        applied repo (bare)
    applied/<n>/older                       the repo and work tree of an older hive, from before its migration
    proposed/<n>/config                     manager's work tree (owned by the manager's uid, never opened by hive)
    push/<n>.git                            where people push; no sandbox sees it
    push/{moving,aside}/                    push repos of an older hive on their way, and those it refused
    agents/<n>/{state,home}                 owned by the agent: /state and its home
    agents/<n>/pods                         the sockets of its pods, bound into the agent as /run/pods
    generations/<n>/<generation>            builder `plain`
    roots/<n>/<id>.json                     what each id was built into (gc roots)
    previews/<n>/<id>.json                  what each open id would be built into
    nix/{agents/<n>,inputs,keep}            builder `nix`: caches, gc roots of shared inputs
    network.toml                            the operator's groups, private hosts and keys for the way out
    egress/                                 hive-egress's own, if the daemon starts it: policy, counters, log
    backend/<backend>/<n>/                  what a backend keeps about a container
    quarantine/ scratch/ processes/         throw-away; emptied at start
    removed/                                what was moved out of the way to be removed; emptied at start and hourly
    reserve/                                blocks and inodes that hive gives back when the disk is full
RUNTIME
    host.sock http.sock                     operator
    manager/{mcp,harness,http}.sock         bound into the manager as /run/hive
    agents/<n>/{mcp,harness,http}.sock      bound into the agent as /run/hive
    egress/<n>/egress.sock                  the way out, bound into the agent as /run/egress; hive-egress's own
    hive-egress/control.sock                the daemon's way to hive-egress (HIVE_EGRESS_CONTROL may name another)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meta.names import MANAGER, AgentName, GenerationId, ProposalId

FOLDERS = ("agents", "applied", "proposed", "push", "generations", "roots")
"""Directories of STATE that are made when the daemon starts, and stay."""
FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one state and one runtime directory. Both are absolute."""

    state: Path
    runtime: Path

    # the daemon's own
    @property
    def lock(self) -> Path:
        """The file of the flock that keeps a second daemon out."""
        return self.state / "lock"

    @property
    def database(self) -> Path:
        """The SQLite database. It is a projection and may be deleted."""
        return self.state / "hive.db"

    @property
    def live(self) -> Path:
        """The copy of the agents' live events. It may be deleted."""
        return self.state / "live.sqlite"

    @property
    def owner(self) -> Path:
        """The random id of this state directory. It marks processes and containers as this hive's."""
        return self.state / "owner"

    @property
    def rollout(self) -> Path:
        """The progress of the last rebuild of all agents."""
        return self.state / "rollout.json"

    @property
    def migration(self) -> Path:
        """The agents of an older hive that the last start left as they are, and why."""
        return self.state / "migration.json"

    @property
    def quarantine(self) -> Path:
        """The temporary repos, one per fetch."""
        return self.state / "quarantine"

    @property
    def scratch(self) -> Path:
        """The temporary work trees of meta candidates."""
        return self.state / "scratch"

    @property
    def removed(self) -> Path:
        """What was moved out of the way and is being removed."""
        return self.state / "removed"

    @property
    def reserve(self) -> Path:
        """The space that hive keeps for itself, for the time when the disk is full."""
        return self.state / "reserve"

    @property
    def processes(self) -> Path:
        """The records of running commands."""
        return self.state / "processes"

    # git
    @property
    def meta(self) -> Path:
        """The exported files of meta `main`, bound into the manager as /meta."""
        return self.state / "meta"

    @property
    def meta_git(self) -> Path:
        """The meta repo."""
        return self.meta / ".git"

    @property
    def applied_repos(self) -> Path:
        """The parent of all applied repos. A backup reads it, see `meta/git/packs.py`."""
        return self.state / "applied"

    def applied(self, agent: AgentName) -> Path:
        """The directory of the applied repo."""
        return self.applied_repos / agent

    def applied_git(self, agent: AgentName) -> Path:
        """The applied repo."""
        return self.applied(agent) / ".git"

    def proposed(self, agent: AgentName) -> Path:
        """The parent of the work tree. All of them are bound into the manager, so nothing else lies there."""
        return self.state / "proposed" / agent

    def proposed_config(self, agent: AgentName) -> Path:
        """The manager's work tree; untrusted."""
        return self.proposed(agent) / "config"

    @property
    def push_repos(self) -> Path:
        """The parent of the push repos, bound into no sandbox."""
        return self.state / "push"

    def push_repo(self, agent: AgentName) -> Path:
        """The bare repo that people push to."""
        return self.push_repos / f"{agent}.git"

    @property
    def push_moving(self) -> Path:
        """Push repos of an older hive that were taken from `proposed/<n>` and are not copied yet."""
        return self.push_repos / "moving"

    @property
    def push_aside(self) -> Path:
        """Push repos of an older hive that hive does not use."""
        return self.push_repos / "aside"

    # agents
    def agent(self, agent: AgentName) -> Path:
        """The parent of the directories that belong to the agent."""
        return self.state / "agents" / agent

    def agent_state(self, agent: AgentName) -> Path:
        """The directory that is /state in the container."""
        return self.agent(agent) / "state"

    def agent_home(self, agent: AgentName) -> Path:
        """The agent's home (credentials)."""
        return self.agent(agent) / "home"

    def pods(self, agent: AgentName) -> Path:
        """The directory bound into the container as /run/pods: the agent's harness makes its pods' sockets in it.

        It lies here and not in RUNTIME, because an agent could fill a file system in memory.
        """
        return self.agent(agent) / "pods"

    # builds
    def generations(self, agent: AgentName) -> Path:
        """The generations of builder `plain`."""
        return self.state / "generations" / agent

    def generation(self, agent: AgentName, generation: GenerationId) -> Path:
        """One generation of builder `plain`."""
        return self.generations(agent) / generation

    def roots(self, agent: AgentName) -> Path:
        """The records of what each id was built into."""
        return self.state / "roots" / agent

    def previews(self, agent: AgentName) -> Path:
        """The previews of the agent's open proposals."""
        return self.state / "previews" / agent

    def preview(self, agent: AgentName, proposal: ProposalId) -> Path:
        """The preview of one id."""
        return self.previews(agent) / f"{proposal}.json"

    def nix(self, agent: AgentName) -> Path:
        """The caches of nix for one agent."""
        return self.state / "nix" / "agents" / agent

    @property
    def nix_inputs(self) -> Path:
        """The gc roots of the meta flake's shared inputs."""
        return self.state / "nix" / "inputs"

    @property
    def nix_keep(self) -> Path:
        """The caches of nix for the gc roots of shared inputs."""
        return self.state / "nix" / "keep"

    def root(self, agent: AgentName, proposal: ProposalId) -> Path:
        """The record of the generation that an id was built into."""
        return self.roots(agent) / f"{proposal}.json"

    def backend(self, name: str) -> Path:
        """The directory of one backend."""
        return self.state / "backend" / name

    # sockets
    @property
    def host_socket(self) -> Path:
        """The operator's line protocol."""
        return self.runtime / "host.sock"

    @property
    def http_socket(self) -> Path:
        """The operator's HTTP."""
        return self.runtime / "http.sock"

    def sockets(self, agent: AgentName) -> Path:
        """The directory bound into the container as /run/hive."""
        return self.runtime / "manager" if agent == MANAGER else self.runtime / "agents" / agent

    def egress(self, agent: AgentName) -> Path:
        """The directory bound into the container as /run/egress. A socket in it is the agent's way out."""
        return self.runtime / "egress" / agent

    @property
    def egress_sockets(self) -> Path:
        """The directory with that of each agent's way out."""
        return self.runtime / "egress"

    @property
    def egress_control(self) -> Path:
        """The socket over which the daemon pushes the policy to hive-egress."""
        return self.runtime / "hive-egress" / "control.sock"

    @property
    def egress_state(self) -> Path:
        """The directory of hive-egress, if the daemon starts it."""
        return self.state / "egress"

    @property
    def network_file(self) -> Path:
        """The operator's file for the way out, unless HIVE_NETWORK_FILE names another."""
        return self.state / "network.toml"

    def mcp_socket(self, agent: AgentName) -> Path:
        """The agent's line protocol."""
        return self.sockets(agent) / "mcp.sock"

    def harness_socket(self, agent: AgentName) -> Path:
        """The link between hive and the agent's harness."""
        return self.sockets(agent) / "harness.sock"

    def agent_http_socket(self, agent: AgentName) -> Path:
        """The agent's tools over HTTP (`/mcp`)."""
        return self.sockets(agent) / "http.sock"
