"""The paths of this host and the limits there: the helper's command line as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from meta.errors import BadInput
from meta.names import AgentName
from reconciler.privileged.conf import OWNER, PLAIN_PATH, Places
from reconciler.privileged.values import Bounds


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs that root runs: absolute paths, or names to find on PATH."""

    nixos_container: str = "nixos-container"
    nix_env: str = "nix-env"
    systemctl: str = "systemctl"
    machinectl: str = "machinectl"
    journalctl: str = "journalctl"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for the parts of a request.

    `heal`: seconds to wait for the end of a stale machine, in each of at most `retries` attempts.
    """

    create: float = 120.0
    switch: float = 60.0
    start: float = 90.0
    control: float = 20.0
    kill: float = 20.0
    destroy: float = 120.0
    logs: float = 20.0
    measure: float = 20.0
    heal: float = 2.0
    retries: int = 2


@dataclass(frozen=True, slots=True)
class Host:
    """The host.

    `uid` and `gid` are the daemon's. `roots` has the containers' own disks, where nixos-container makes them. `records`
    is root's own directory: the containers that are being created. `idmap`: the store's file system can be mounted with
    mapped owners. `credentials` is the host's list of them. `egress_uid` is that of hive-egress, None if it is the
    daemon's own.
    """

    owner: str
    uid: int
    gid: int
    etc: Path
    profiles: Path
    state: Path
    runtime: Path
    units: Path
    records: Path
    bounds: Bounds = field(default_factory=Bounds)
    programs: Programs = Programs()
    deadlines: Deadlines = Deadlines()
    roots: Path = Path("/var/lib/nixos-containers")
    idmap: bool = False
    credentials: Path = Path("/etc/hive/credentials.json")
    egress_uid: int | None = None

    def __post_init__(self) -> None:
        if not OWNER.fullmatch(self.owner):
            raise BadInput(f"{self.owner!r} is not an owner id", "letters a-z, digits and '-'")
        for path in (self.bounds.store, str(self.state), str(self.runtime)):
            if not PLAIN_PATH.fullmatch(path):
                raise BadInput(f"{path!r} cannot stand in a container's settings", "use a plain absolute path")

    @property
    def places(self) -> Places:
        """The daemon's directories as text for the templates."""
        return Places(str(self.state), str(self.runtime), self.bounds.store if self.idmap else None)

    def conf(self, name: AgentName) -> Path:
        """The container's conf file."""
        return self.etc / f"{name}.conf"

    def limits(self, name: AgentName) -> Path:
        """The drop-in of the container's unit."""
        return self.units / f"container@{name}.service.d" / "50-hive.conf"

    def profile(self, name: AgentName) -> Path:
        """The nix profile of the container's systems."""
        return self.profiles / name / "system"

    def creating(self, name: AgentName) -> Path:
        """The file that exists while a container is created and has no marker yet."""
        return self.records / name
