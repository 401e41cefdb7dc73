"""What root is worth here: in a user namespace or a container, uid 0 may have neither uids to hand out nor rights.

Standard library and meta.errors only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from meta.errors import Refused

FIRST_UID = 524_288
"""The first uid of agents by default: `uid_start` of the settings."""
OVERFLOW = 65_534
"""The uid under which a user namespace shows every owner that it does not know."""
_ALL = 2**32 - 1
_NEEDED = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_ADMIN": 21}

ROOT_REMEDY = (
    "unset HIVE_FIXED_UIDS, so that each agent gets a uid of its own (chown its files to that), or run hive as an "
    "ordinary user"
)
ONE_UID_REMEDY = "run hive as the host's root, or give its user namespace the uids from HIVE_UID_START on"


@dataclass(frozen=True, slots=True)
class Privilege:
    """What this process may do. `why` is the reason if it is uid 0 and cannot hand out uids, else "".

    `namespaced`: in a user namespace, so that its uid 0 need not be the host's.
    """

    uid: int
    namespaced: bool
    why: str = ""

    @property
    def hands_out_uids(self) -> bool:
        """True if agents can get uids of their own."""
        return self.uid == 0 and not self.why

    @property
    def host_root(self) -> bool:
        """True if a process that this one starts is the host's root, unless it changes its uid."""
        return self.uid == 0 and not self.namespaced


def privilege(first: int = FIRST_UID, proc: Path = Path("/proc/self")) -> Privilege:
    """Return what this process may do, if agents get uids from `first` on.

    Without /proc uid 0 counts as the host's root with all rights: the sandbox then reports what is missing.
    """
    uid = os.geteuid()
    ranges = _ranges(proc / "uid_map")
    namespaced = ranges is not None and (0, _ALL) not in ranges
    if uid != 0:
        return Privilege(uid, namespaced)
    if namespaced and not any(start <= first < start + count for start, count in ranges or ()):
        count = sum(count for _, count in ranges or ())
        many = "one uid" if count == 1 else f"{count} uids"
        return Privilege(uid, True, f"this user namespace has {many}, and not {first}")
    missing = _missing(proc / "status")
    if missing:
        return Privilege(uid, namespaced, f"uid 0 is without {', '.join(missing)} here")
    return Privilege(uid, namespaced)


def require_proc(proc: Path = Path("/proc")) -> None:
    """Raise Refused if there is no /proc: hive reads there who a process is, and reaches its sockets through it."""
    if not (proc / "self/status").exists():
        raise Refused("no /proc is mounted here, and hive cannot do without it", "mount -t proc proc /proc")


def _ranges(path: Path) -> list[tuple[int, int]] | None:
    """Return the mapped ranges of uids as (first, count); None if the file cannot be read."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return [(int(line.split()[0]), int(line.split()[2])) for line in lines]


def _missing(path: Path) -> list[str]:
    """Return the capabilities that handing out uids needs and this process does not have."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    effective = next((int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff:")), None)
    if effective is None:
        return []
    return [name for name, bit in _NEEDED.items() if not effective >> bit & 1]
