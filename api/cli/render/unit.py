"""The text of hive.service for a host without NixOS. Pure.

What it shares with nix/modules/host/daemon.nix has the same values; a test compares the two. OTHER says why the rest
differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.errors import BadInput

Value = str | tuple[str, ...]
"""The value of a directive; of a tuple each on a line of its own."""

MARK = "# Written by `hive install-service`. Changes belong in hive.service.d/, which `systemctl edit hive` makes."
"""The first line. A file without it is not hive's to change."""

BOTH: Mapping[str, Value] = {
    "Type": "notify",
    "NotifyAccess": "main",
    "UMask": "0022",
    "Restart": "always",
    "RestartPreventExitStatus": "8",  # Code.NEWER: a newer hive wrote the state directory, and only a person can help
    "TimeoutStartSec": "180",
    "TimeoutStopSec": "60",
    "WatchdogSec": "120",
    "KillMode": "process",  # agents go on without the daemon
    "OOMPolicy": "continue",
    "LimitNOFILE": "65536",
    "NoNewPrivileges": "true",
    "LockPersonality": "true",
    "RestrictRealtime": "true",
    "KeyringMode": "private",
    "SystemCallArchitectures": "native",
    "RestrictNamespaces": "user mnt pid net ipc uts cgroup",
    "RestrictAddressFamilies": "AF_UNIX AF_NETLINK AF_INET AF_INET6",
    "SystemCallFilter": (
        "@system-service",
        "@mount",
        "sethostname",
        "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap",
    ),
    "SystemCallErrorNumber": "EPERM",
}
"""The directives of every hive.service, as the NixOS module has them."""

SYSTEM: Mapping[str, Value] = {
    "ProtectSystem": "strict",
    "ProtectHome": "true",
    "PrivateTmp": "true",
    "PrivateDevices": "true",
    "PrivateMounts": "true",
    "ProtectClock": "true",
    "ProtectKernelModules": "true",
    "RemoveIPC": "true",
    "AmbientCapabilities": "",
    "RuntimeDirectoryMode": "0755",
    "RuntimeDirectoryPreserve": "yes",
}
"""Further directives of the system's hive.service, as the module has them."""

CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID"),
    *("CAP_KILL", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_RESOURCE"),
    *("CAP_NET_ADMIN", "CAP_SYS_CHROOT"),
)
"""What a daemon needs that is root: it gives each agent a uid of its own, and bubblewrap makes its namespaces."""

OTHER = {
    "ExecStart": "the command of this installation",
    "ExecStartPre": "the daemon is root, or its user started every hive of that state directory",
    "EnvironmentFile": "the file need not exist: nothing writes it but the operator",
    "User": "the daemon is root, so that each agent has a uid of its own; with --user it is the caller",
    "Group": "as for User",
    "WorkingDirectory": "every path is absolute",
    "RuntimeDirectory": "of --runtime",
    "ReadWritePaths": "StateDirectory= makes the directory too; for a state directory elsewhere it is the same",
    "RestartSec": "the growing delay needs systemd 254, and Debian 12 has 252",
    "RestartSteps": "as for RestartSec",
    "RestartMaxDelaySec": "as for RestartSec",
    "CapabilityBoundingSet": "CAPABILITIES: the module's daemon is no root",
    "ProtectControlGroups": "root may make control groups, which enforce the agents' limits",
}
"""The directives of the module that have another value here, or none, with the reason."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:@+-]+")
_SETTINGS = "/etc/hive/daemon.env"
_USER_SETTINGS = "%h/.config/hive/daemon.env"


@dataclass(frozen=True, slots=True)
class Installation:
    """The service to write. `program` runs `hive`; `source` are the directories that it reads its code from."""

    program: tuple[str, ...]
    source: tuple[Path, ...]
    state: Path | None
    runtime: Path | None
    user: bool = False


def text_of(made: Installation) -> str:
    """Return the unit. Raise BadInput for a place that cannot work."""
    directives = _user(made) if made.user else _system(made)
    lines = [
        f"{key}={each}" for key, value in directives.items() for each in ((value,) if isinstance(value, str) else value)
    ]
    target = "default.target" if made.user else "multi-user.target"
    unit = ["[Unit]", "Description=hive: keeps coding agents equal to git"]
    # A daemon that keeps ending is restarted for ever: agents keep running and need it.
    unit += ["StartLimitIntervalSec=0"] if made.user else ["After=network.target", "StartLimitIntervalSec=0"]
    return "\n".join([MARK, *unit, "", "[Service]", *lines, "", "[Install]", f"WantedBy={target}", ""])


def _system(made: Installation) -> dict[str, Value]:
    state, runtime = made.state or Path("/var/lib/hyperhive"), made.runtime or Path("/run/hyperhive")
    if not _below(runtime, "/run") or not _PLAIN.fullmatch(str(runtime)):
        raise BadInput(f"{runtime} is not below /run, where systemd makes and keeps it", "for example /run/hyperhive")
    for path in (state, *made.source):
        if _below(path, "/tmp") or _below(path, "/var/tmp"):  # noqa: S108
            raise BadInput(f"{path} is in a directory that is emptied at boot", "use one below /var/lib, /opt or /srv")
    if any(_below(state, place) for place in ("/home", "/root", "/run")):
        raise BadInput(f"{state} is a place that the service does not see", "use one below /var/lib, or --user")
    directives: dict[str, Value] = {
        "ExecStart": _command(made.program, str(state), str(runtime)),
        "Environment": word(f"HOME={state}"),
        "EnvironmentFile": f"-{_SETTINGS}",
        **BOTH,
        **SYSTEM,
        "RestartSec": "5",
    }
    if _below(state, "/var/lib") and _PLAIN.fullmatch(str(state)):
        directives |= {"StateDirectory": str(state.relative_to("/var/lib")), "StateDirectoryMode": "0711"}
    else:
        directives |= {"ReadWritePaths": word(str(state))}
    directives |= {"RuntimeDirectory": str(runtime.relative_to("/run"))}
    directives |= {"CapabilityBoundingSet": " ".join(CAPABILITIES)}
    if any(_below(path, place) for path in made.source for place in ("/home", "/root", "/run/user")):
        directives["ProtectHome"] = "read-only"  # hive's own program lies there
    return directives


def _user(made: Installation) -> dict[str, Value]:
    """Return the directives that a user's own manager can enforce without a user namespace.

    In one, what belongs to root would belong to nobody, and hive believes only its own files and root's.
    """
    state = str(made.state) if made.state is not None else None
    directives: dict[str, Value] = {
        "ExecStart": _command(made.program, state, str(made.runtime) if made.runtime is not None else None),
        "EnvironmentFile": f"-{_USER_SETTINGS}",
        **BOTH,
        "RestartSec": "5",
    }
    return (
        directives
        if made.runtime
        else directives | {"RuntimeDirectory": "hyperhive", "RuntimeDirectoryPreserve": "yes"}
    )


def _command(program: tuple[str, ...], state: str | None, runtime: str | None) -> str:
    """Return the value of ExecStart. A directory that is not given is the user's own place for it."""
    places = (word(state) if state else "%h/.local/state/hyperhive", word(runtime) if runtime else "%t/hyperhive")
    return " ".join([*(word(each) for each in program), "serve", "--state", places[0], "--runtime", places[1]])


def word(text: str) -> str:
    """Return `text` as one word of a unit file: no specifier, no variable, no space counts."""
    if any(ord(char) < 32 for char in text):
        raise BadInput(f"{text!r} has a control character, which a unit file cannot hold", "choose another directory")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if _PLAIN.fullmatch(text) else f'"{escaped}"'


def _below(path: Path, place: str) -> bool:
    return path != Path(place) and path.is_relative_to(place)
