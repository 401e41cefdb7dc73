"""The unit container@<agent>.service, read from systemd's properties, and the end of a run of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from meta.errors import BadInput
from meta.names import AgentName, agent_name
from reconciler.backends.nixos.records import UnitRun
from reconciler.plan.observed import Exit

UNIT_PATHS = "/org/freedesktop/systemd1/unit"
_PREFIX, _SUFFIX = "container@", ".service"
_EXITED, _KILLED, _DUMPED = 1, 2, 3
"""CLD_* of waitid, which is what ExecMainCode holds."""

_SLACK = 2.0
"""Seconds between the clock of a launch and the one of systemd that still count as the same start."""


@dataclass(frozen=True, slots=True)
class UnitView:
    """The unit at one moment. `pid` is the run's main process until the unit is down. Times are Unix seconds.

    `invocation` is systemd's id of the run (hex; empty if systemd has unloaded the unit).
    """

    active: str = "inactive"
    result: str = "success"
    invocation: str = ""
    pid: int | None = None
    code: int = 0
    status: int = 0
    started: float = 0.0
    ended: float = 0.0

    @property
    def up(self) -> bool:
        """True from the start job until no process of the unit is left."""
        return self.active not in ("inactive", "failed")


def unit_name(agent: AgentName) -> str:
    """Return container@<agent>.service."""
    return f"{_PREFIX}{agent}{_SUFFIX}"


def object_path(agent: AgentName) -> str:
    """Return the unit's D-Bus path. Characters other than letters and digits become _<hex>."""
    name = unit_name(agent)
    escaped = "".join(char if char.isascii() and char.isalnum() else f"_{ord(char):02x}" for char in name)
    return f"{UNIT_PATHS}/{escaped}"


def agent_of_unit(name: str) -> AgentName | None:
    """Return the agent of a unit; None for a unit that is not a container."""
    if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
        return None
    try:
        return agent_name(name[len(_PREFIX) : -len(_SUFFIX)])
    except BadInput:
        return None


def agent_of_path(path: str) -> AgentName | None:
    """Return the agent of a unit by its D-Bus path."""
    if not path.startswith(f"{UNIT_PATHS}/"):
        return None
    text, _, rest = path[len(UNIT_PATHS) + 1 :].partition("_")
    while rest:
        try:
            text += chr(int(rest[:2], 16))
        except ValueError:
            return None
        plain, _, rest = rest[2:].partition("_")
        text += plain
    return agent_of_unit(text)


def merged(view: UnitView, changed: Mapping[str, object]) -> UnitView:
    """Return `view` with the properties of a GetAll or a PropertiesChanged. Skip unknown properties."""
    changed_view = replace(
        view,
        active=_text(changed, "ActiveState", view.active),
        result=_text(changed, "Result", view.result),
        invocation=_invocation(changed, view.invocation),
        code=_number(changed, "ExecMainCode", view.code),
        status=_number(changed, "ExecMainStatus", view.status),
        started=_seconds(changed, "ExecMainStartTimestamp", view.started),
        ended=_seconds(changed, "ExecMainExitTimestamp", view.ended),
    )
    pid = _number(changed, "MainPID", 0) or _number(changed, "ExecMainPID", 0) or view.pid
    return replace(changed_view, pid=pid if changed_view.up else None)


def judge(run: UnitRun, view: UnitView, boot: str, now: float) -> Exit | None:
    """Return how `run` ended; None while it may be running. `boot` is the host's boot id, `now` Unix seconds.

    The unit's state counts only if it is about this run. If it is not, nothing recorded the end, and the exit is lost.
    """
    if run.boot != boot:
        return Exit(run.nonce, now, lost=True)
    if view.up:
        return None
    if not is_about(run, view):
        return Exit(run.nonce, now, lost=True)
    at = view.ended or now
    if view.code == _EXITED:
        return Exit(run.nonce, at, code=view.status)
    if view.code in (_KILLED, _DUMPED):
        return Exit(run.nonce, at, signal=view.status)
    return Exit(run.nonce, at, code=0 if view.result == "success" else 1)  # its main process was never started


def is_about(run: UnitRun, view: UnitView) -> bool:
    """Return True if the unit's state is about this run. If a daemon died during the start, the time decides."""
    if not view.invocation or view.invocation == run.before:
        return False
    if run.invocation is not None:
        return view.invocation == run.invocation
    return view.started == 0.0 or view.started >= run.launch.at - _SLACK


def _text(changed: Mapping[str, object], key: str, default: str) -> str:
    value = changed.get(key)
    return value if isinstance(value, str) else default


def _number(changed: Mapping[str, object], key: str, default: int) -> int:
    value = changed.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _seconds(changed: Mapping[str, object], key: str, default: float) -> float:
    """Convert systemd's microseconds to seconds."""
    return _number(changed, key, int(default * 1e6)) / 1e6


def _invocation(changed: Mapping[str, object], default: str) -> str:
    match changed.get("InvocationID"):
        case bytes(raw):
            return raw.hex()
        case list(numbers):
            return bytes(number for number in numbers if isinstance(number, int)).hex()
        case _:
            return default
