"""The unit of systemd that a process is the main process of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meta.text import command_line

_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Unit:
    """A service. `user`: of a user's own service manager."""

    name: str
    user: bool = False

    def command(self, verb: str) -> str:
        """Return the command that does `verb` to it."""
        words = ("systemctl", "--user") if self.user else ("sudo", "systemctl")
        return command_line(*words, verb, self.name)


def own_unit(environment: Mapping[str, str] = os.environ, cgroup: str | None = None) -> Unit | None:
    """Return the service that systemd started this process for; None if it started another process, or none."""
    if environment.get("SYSTEMD_EXEC_PID") != str(os.getpid()):  # a shell in a unit hands the variable down
        return None
    try:
        text = _CGROUP.read_text(encoding="utf-8") if cgroup is None else cgroup
    except OSError:
        return None
    for line in text.splitlines():
        parts = line.partition("::")[2].split("/") if line.startswith("0::") else []
        parts = parts or (line.split(":", 2)[-1].split("/") if ":name=systemd:" in line else [])
        name = next((part for part in reversed(parts) if part.endswith(".service")), None)
        if name is not None and not name.startswith("user@"):
            return Unit(name, any(part.startswith("user@") for part in parts))
    return None
