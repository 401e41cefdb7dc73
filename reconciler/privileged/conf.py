"""The files of a container as text: its conf file and its limits. Pure: fixed templates, checked values.

    <etc>/<name>.conf                                       read by container@<name>.service (KEY=VALUE)
        # hive <owner>                                      the marker: hive never touches a container without it
        # settings {...}                                    what the rest was made from
        # written <fingerprint of the settings> <digest of all other lines>
    <run>/container@<name>.service.d/50-hive.conf           limits, with the first and `written` line; lost at reboot

SYSTEM_PATH is what boots. The profile keeps the history and the gc root. A start does not read it, since it is bound
into the container. hive restarts containers, not systemd, so that every start has its nonce and its back-off.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from meta.errors import BadInput
from meta.names import MANAGER, AgentName
from reconciler.privileged import values, variables
from reconciler.privileged.values import UIDS, Bounds, Settings

OWNER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_COVER = "mode=0755,size=4M,nosuid,nodev"
PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
"""System calls that nspawn's own filter refuses. They only take rights away: a coding agent's scope is held by them."""
HIDDEN = ("/nix/var/nix/daemon-socket", "/nix/var/nix/db")
"""What NixOS binds into every container and an agent must not reach. The host's nix daemon fetches what a client asks
for, from the host's network. Who may read its database may lock it, and with it the host's nix."""


@dataclass(frozen=True, slots=True)
class Places:
    """The daemon's two directories: plain absolute paths (PLAIN_PATH), checked at the helper's start.

    `idmapped_store` is the store if its file system can be mounted with mapped owners, else None.
    """

    state: str
    runtime: str
    idmapped_store: str | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """A directory below the daemon's state or runtime directory (`parts`), and its path in the container."""

    runtime: bool
    parts: tuple[str, ...]
    inside: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """A file of the host's root that the container's start reads and passes on as a credential of systemd."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class Conf:
    """The content of a conf file. Without a `system` the container cannot boot yet."""

    owner: str
    settings: Settings
    system: str | None
    credentials: tuple[Credential, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A conf or limits file as read.

    `owner` is None without a marker: the file is not hive's. `fingerprint` is None if it was edited. `flake` is what a
    file without a marker names as the container's flake.
    """

    owner: str | None
    fingerprint: str | None = None
    settings: Settings | None = None
    system: str | None = None
    flake: str | None = None


def is_of_older(written: Written, name: AgentName, state: str) -> bool:
    """Return True if root made this container for an agent of an older hive with this state directory.

    Then its flake is the agent's applied repo. A file with a system of its own is not one that it left.
    """
    flake, system = written.flake, written.system
    return flake is not None and system is None and flake.partition("#")[0] == f"{state}/applied/{name}"


def directory(name: AgentName, kind: str) -> Bind:
    """Return the directory of one kind that belongs to an agent (as meta.layout has it)."""
    match kind:
        case "sockets":
            parts = ("manager",) if name == MANAGER else ("agents", name)
            return Bind(True, parts, "/run/hive")
        case "egress":
            return Bind(True, ("egress", name), "/run/egress", read_only=True)
        case "proposed":
            return Bind(False, ("proposed", name, "config"), f"/agents/{name}/config")
        case "home":
            return Bind(False, ("agents", name, "home"), "/home/agent")
        case "pods":
            return Bind(False, ("agents", name, "pods"), "/run/pods")
        case _:
            return Bind(False, ("agents", name, "state"), "/state")


def binds(name: AgentName, role: str) -> tuple[Bind, ...]:
    """Return the parts of the host that the container sees. Only directories: a bound socket file would go stale."""
    own = tuple(directory(name, kind) for kind in ("state", "home", "pods", "sockets", "egress"))
    if role != "manager":
        return own
    return (
        *own,
        Bind(False, ("proposed",), "/agents"),
        Bind(False, ("applied",), "/applied", read_only=True),
        Bind(False, ("meta",), "/meta", read_only=True),
    )


def render(name: AgentName, conf: Conf, places: Places) -> str:
    """Return the text of the conf file."""
    settings = conf.settings
    flags = [f"--private-users={settings.uid_base}:{UIDS}", "--private-users-ownership=auto"]
    flags += [*_store_flags(places.idmapped_store), *(_flag(bind, places) for bind in binds(name, settings.role))]
    flags += [f"--inaccessible={path}" for path in HIDDEN]
    flags += [f"--system-call-filter={call}" for call in LANDLOCK]
    flags += [f"--load-credential={each.id}:{each.path}" for each in conf.credentials]
    addresses = None if settings.isolated else _addresses(settings.uid_base)
    body = [*variables.written(addresses), "AUTO_START=0"]
    body += [f"SYSTEM_PATH={conf.system}"] if conf.system else []
    body += [f'EXTRA_NSPAWN_FLAGS="{" ".join(flags)}"']
    return _sealed([f"# hive {conf.owner}", f"# settings {settings.text()}"], settings, body)


def render_limits(owner: str, settings: Settings) -> str:
    """Return the text of the drop-in of the container's unit."""
    limits = settings.limits
    body = [
        "[Service]",
        f"MemoryMax={'infinity' if limits.memory_mib is None else f'{limits.memory_mib}M'}",
        *([] if limits.memory_mib is None else ["MemorySwapMax=0"]),
        f"TasksMax={'infinity' if limits.pids is None else limits.pids}",
        f"CPUQuota={'' if limits.cpu_percent is None else f'{limits.cpu_percent}%'}",
        # nspawn makes this node in a container with a network of its own, and 257 fails if the unit does not allow it
        "DeviceAllow=/dev/net/tun rwm",
        "Restart=no",
        "RestartForceExitStatus=",
    ]
    return _sealed([f"# hive {owner}"], settings, body)


def read_back(text: str, bounds: Bounds) -> Written:
    """Read a conf or limits file: its owner, and whether it was edited."""
    lines = text.splitlines()
    marker = lines[0].removeprefix("# hive ") if lines and lines[0].startswith("# hive ") else ""
    if not OWNER.fullmatch(marker):
        flakes = [line.removeprefix("FLAKE=") for line in lines if line.startswith("FLAKE=")]
        return Written(None, system=_system(lines, bounds), flake=flakes[0] if len(flakes) == 1 else None)
    words = [line.split() for line in lines if line.startswith("# written ")]
    rest = [line for line in lines if not line.startswith("# written ")]
    intact = len(words) == 1 and words[0][3:] == [_digest(rest)] and text.endswith("\n")
    settings, system = _settings(lines, bounds), _system(lines, bounds)
    return Written(marker, words[0][2] if intact else None, settings, system)


def _settings(lines: list[str], bounds: Bounds) -> Settings | None:
    texts = [line.removeprefix("# settings ") for line in lines if line.startswith("# settings ")]
    try:
        return values.settings(json.loads(texts[0]), bounds) if len(texts) == 1 else None
    except (ValueError, RecursionError, BadInput):
        return None


def _system(lines: list[str], bounds: Bounds) -> str | None:
    texts = [line.removeprefix("SYSTEM_PATH=") for line in lines if line.startswith("SYSTEM_PATH=")]
    try:
        return values.system(texts[0], bounds) if len(texts) == 1 else None
    except BadInput:
        return None


def _store_flags(idmapped_store: str | None) -> list[str]:
    """Return the options that cover what the start script binds of nix (decision 19).

    The store is bound once more, with root as its owner, read-only. The container's profiles and gc roots on the host,
    which only the host's root writes, are covered by directories of the container's own root.
    """
    flags = [] if idmapped_store is None else [f"--bind-ro={idmapped_store}:{idmapped_store}:idmap"]
    return flags + [f"--tmpfs=/nix/var/nix/{folder}:{_COVER}" for folder in ("profiles", "gcroots")]


def _flag(bind: Bind, places: Places) -> str:
    source = "/".join((places.runtime if bind.runtime else places.state, *bind.parts))
    return f"--bind{'-ro' if bind.read_only else ''}={source}:{bind.inside}"


def _addresses(uid_base: int) -> tuple[str, str]:
    """Return the host's and the container's address in 10.234.0.0/15. They are unique because the uid range is."""
    host = (10 << 24) + (234 << 16) + uid_base // UIDS * 2
    return _dotted(host), _dotted(host + 1)


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def _sealed(head: list[str], settings: Settings, body: list[str]) -> str:
    seal = f"# written {settings.fingerprint()} {_digest([*head, *body])}"
    return "\n".join([*head, seal, *body]) + "\n"


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]
