"""The values of a request, and the exact form of each. Pure; standard library and meta's names only.

Only values of exactly their form are passed on, so no value can contain a line end, a quote or an option.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from meta.errors import BadInput
from meta.names import AgentName, agent_name

UIDS = 65_536
"""The number of uids per container."""
HARNESS_UID = 1000
"""The uid in a container of the user that hive.agent.user is: of the harness, or of the CLI if both have two uids.

The manager's owns the proposed work trees. The agent's module asserts it.
"""

KINDS = ("state", "home", "pods", "sockets", "egress", "proposed")
ROLES = ("agent", "manager")
SINCE_MAX = 2**53
LINES_MAX = 1000
GRACE_MAX = 600.0
"""The largest grace in seconds."""

_ENTRY = re.compile(r"[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+_?=-][0-9A-Za-z+._?=-]{0,210}")
_CURSOR = re.compile(r"s=[0-9a-z=;]{1,254}")
_LIMITS = {"memory_mib": 2**24, "pids": 2**22, "cpu_percent": 1_000_000}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of this host: the store of the systems, and the first and the last uid of the containers' ranges.

    From 2,147,352,576 on systemd has uids of its own.
    """

    store: str = "/nix/store"
    uid_first: int = 524_288
    uid_last: int = 2_147_352_575


@dataclass(frozen=True, slots=True)
class Limits:
    """Mirror of meta.model.Limits; None = no limit."""

    memory_mib: int | None = 2048
    pids: int | None = 1024
    cpu_percent: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Mirror of meta.model.ContainerSettings in plain values, since root must not import that module."""

    role: str
    uid_base: int
    limits: Limits = Limits()
    isolated: bool = True

    def text(self) -> str:
        """Return one line of JSON, which `settings` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    def fingerprint(self) -> str:
        """Return 20 hex digits, the same as ContainerSettings.fingerprint()."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:20]


def exact(value: object, what: str, keys: tuple[str, ...]) -> Mapping[str, object]:
    """Return `value` as an object with exactly these keys, or raise BadInput."""
    if not isinstance(value, dict):
        raise BadInput(f"{what} is not an object")
    if set(value) != set(keys):
        wrong = sorted(repr(key)[:40] for key in set(value) ^ set(keys))
        raise BadInput(f"{what} has missing or unknown keys: {', '.join(wrong[:8])}", f"exactly: {', '.join(keys)}")
    return value


def name(value: object) -> AgentName:
    """Check an agent's name."""
    return agent_name(_text(value, "name"))


def uid_base(value: object, bounds: Bounds) -> int:
    """Check the first uid of a container: a multiple of 65,536 whose whole range is within the bounds."""
    number = _whole(value, "uid_base", bounds.uid_first, bounds.uid_last - UIDS + 1)
    if number % UIDS:
        raise BadInput(f"uid_base {number} is not a multiple of {UIDS}")
    return number


def system(value: object, bounds: Bounds) -> str:
    """Check a path directly below the store by its form only (`Verbs` checks the file system)."""
    text = _text(value, "system")
    prefix, _, entry = text.rpartition("/")
    if prefix != bounds.store or not _ENTRY.fullmatch(entry):
        raise BadInput(f"{text[:80]!r} is not a path directly below {bounds.store}", "send what the build printed")
    return text


def settings(value: object, bounds: Bounds) -> Settings:
    """Check the settings of one container."""
    table = exact(value, "settings", ("role", "uid_base", "limits", "isolated"))
    limits = exact(table["limits"], "limits", tuple(_LIMITS))
    isolated = table["isolated"]
    if not isinstance(isolated, bool):
        raise BadInput("isolated is neither true nor false")
    memory, pids, cpu = (_limit(limits[key], key) for key in _LIMITS)
    role = _one_of(table["role"], "role", ROLES)
    return Settings(role, uid_base(table["uid_base"], bounds), Limits(memory, pids, cpu), isolated)


def grace(value: object) -> float:
    """Check the seconds between TERM and KILL."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= GRACE_MAX:
        raise BadInput(f"grace is not a number from 0 to {GRACE_MAX:g}")
    return float(value)


def kind(value: object) -> str:
    """Check the kind of an agent's directory."""
    return _one_of(value, "kind", KINDS)


def lines(value: object) -> int:
    """Check a number of log lines."""
    return _whole(value, "lines", 1, LINES_MAX)


def cursor(value: object) -> str | None:
    """Check a cursor of the journal, or None."""
    if value is None:
        return None
    text = _text(value, "cursor")
    if not _CURSOR.fullmatch(text):
        raise BadInput(f"{text[:40]!r} is not a cursor", "send the one of the last answer, or null")
    return text


def since(value: object) -> int | None:
    """Check a Unix second, or None."""
    return None if value is None else _whole(value, "since", 0, SINCE_MAX)


def _limit(value: object, key: str) -> int | None:
    return None if value is None else _whole(value, key, 1, _LIMITS[key])


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{what} is not a text")
    return value


def _whole(value: object, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadInput(f"{what} is not a whole number from {low} to {high}")
    return value


def _one_of(value: object, what: str, known: tuple[str, ...]) -> str:
    text = _text(value, what)
    if text not in known:
        raise BadInput(f"{what} {text[:40]!r} is unknown", f"one of: {', '.join(known)}")
    return text
