"""hive's records of a container and root's files about it. Each is read again only if its stat changed.

<state>/backend/nixos/<agent>/
    hive.json          the marker: the container belongs to the hive with this owner
    settings.json      the desired settings; root has them in the conf file once there is a system
    system.json        the generation of the system path in the conf file; written before root is called
    run.json           the last start: launch, boot id, systemd's invocation
    exit.json          the last end
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from meta import own_file
from meta.errors import HiveError
from meta.model import ContainerSettings
from meta.names import AgentName, agent_name
from meta.process.disk import disk_error
from reconciler.backends.records import EXIT, MARKER, SETTINGS, Cached, WrittenSettings
from reconciler.common.files import write_json
from reconciler.plan.observed import Launch
from reconciler.privileged import conf
from reconciler.privileged.conf import Written
from reconciler.privileged.values import Bounds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnitRun:
    """run.json: one start.

    `before` is the unit's invocation when the start was requested. `invocation` is that of this run; None until systemd
    reports it.
    """

    nonce: str
    launch: Launch
    boot: str
    before: str = ""
    invocation: str | None = None


@dataclass(frozen=True, slots=True)
class SetSystem:
    """system.json: the generation and its path in the store."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class Where:
    """The host's directories that root writes, and the allowed forms. `owner` marks this hive's containers."""

    owner: str = "hive"
    etc: Path = Path("/etc/nixos-containers")
    profiles: Path = Path("/nix/var/nix/profiles/per-container")
    bounds: Bounds = field(default_factory=Bounds)


RUN = TypeAdapter(UnitRun)
SYSTEM = TypeAdapter(SetSystem)


class NixosRecords:
    """One agent's records and conf file."""

    def __init__(self, agent: AgentName, folder: Path, where: Where, state: Path) -> None:
        self.agent = agent
        self.folder = folder
        self._where = where
        self._state = str(state)
        self._marker = Cached(folder / "hive.json", MARKER.validate_json)
        self.settings = Cached(folder / "settings.json", SETTINGS.validate_json)
        self.system = Cached(folder / "system.json", SYSTEM.validate_json)
        self.run = Cached(folder / "run.json", RUN.validate_json)
        self.exit = Cached(folder / "exit.json", EXIT.validate_json)
        self._conf_name = str(where.etc / f"{agent}.conf")
        self._conf = Cached(where.etc / f"{agent}.conf", self._parse, follow=True)
        self._profile = str(where.profiles / agent / "system")

    def _parse(self, data: bytes) -> Written:
        return conf.read_back(data.decode("utf-8", "replace"), self._where.bounds)

    @property
    def marked(self) -> bool:
        """True if hive made it. Root may not have made it yet."""
        marker = self._marker.get()
        return marker is not None and marker.owner == self._where.owner

    @property
    def written(self) -> Written | None:
        """The conf file, if it has this hive's marker."""
        written = self._conf.get()
        return written if written is not None and written.owner == self._where.owner else None

    @property
    def on_host(self) -> bool:
        """True if the host has a container of that name, hive's or not."""
        return os.path.lexists(self._conf_name)

    @property
    def exists(self) -> bool:
        """True if it exists: on the host, or made and still without a system."""
        return self.on_host or (self.marked and self.system.get() is None)

    @property
    def damage(self) -> tuple[str, str] | None:
        """What is wrong with the record of the run or with the conf file, and the remedy. Read both first."""
        if self.run.damage:
            return self.run.damage, "remove that file: hive then restarts the container"
        if self._conf.damage:
            return self._conf.damage, "repair the disk or its permissions"
        return None

    @property
    def ours(self) -> bool:
        """True if it is this hive's: by its marker, because root was interrupted while making it, or if a migration
        adopted it.
        """
        if not self.on_host:
            return True
        if self.written is not None:
            return True
        unmarked = self._conf.get()
        if unmarked is None or unmarked.owner is not None or not self.marked:
            return False
        return self.system.get() is not None or self.is_of_older

    @property
    def is_of_older(self) -> bool:
        """True if root made it for an older hive with this state directory."""
        written = self._conf.get()
        return written is not None and conf.is_of_older(written, self.agent, self._state)

    @property
    def switched_to(self) -> SetSystem | None:
        """The generation that boots next, if conf file, profile and record agree and the system exists.

        This costs three or four stats.
        """
        written, system = self.written, self.system.get()
        if written is None or system is None or written.system != system.path:
            return None
        try:
            profile, path = os.stat(self._profile), os.stat(system.path)  # noqa: PTH116 - called for every agent
        except OSError:
            return None
        return system if (profile.st_dev, profile.st_ino) == (path.st_dev, path.st_ino) else None


def older_containers(state: Path, where: Where) -> tuple[frozenset[AgentName], frozenset[AgentName]]:
    """Return the agents of an older hive that have a container, and those whose container has their name."""
    agents: set[AgentName] = set()
    adoptable: set[AgentName] = set()
    for path in sorted(where.etc.glob("*.conf")):
        try:
            written = conf.read_back(own_file.read(path, follow=True).decode("utf-8", "replace"), where.bounds)
            agent = agent_name((written.flake or "").partition("#")[0].rpartition("/")[2])
        except (OSError, HiveError):
            continue
        if conf.is_of_older(written, agent, str(state)):
            agents.add(agent)
            if path.stem == agent:
                adoptable.add(agent)
            else:
                log.warning("%s runs %s by its older flake: stop it by hand, hive makes another", path.stem, agent)
    return frozenset(agents), frozenset(adoptable)


def adopt(folder: Path, settings: ContainerSettings, where: Where) -> None:
    """Note the container of an older hive as this hive's. Root makes it so, once there is a system for it."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_json(folder / "settings.json", WrittenSettings.of(settings))
        write_json(folder / "hive.json", {"owner": where.owner})
    except OSError as error:
        raise disk_error(f"cannot adopt the container {folder.name}", error) from error
