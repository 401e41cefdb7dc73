"""The machine, the findings and the agents' files as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.ui.numbers import percent
from api.ui.pieces import Piece, prose
from reconciler.queries.host import HostView
from reconciler.upkeep.doctor.checks.base import Verdict
from reconciler.upkeep.doctor.examine import Row
from reconciler.views import AgentStatus

WARN, ALARM = 85, 95
"""Percent of the disk, of its inodes or of an agent's share that are in use."""
AGENTS_MOST = 20
"""Agents that the page shows of those with the most files."""
MIB = 2**20
_TENTH = 10**8
"""Memory is shown in steps of this many bytes, so that a page on which nothing happens is sent little."""
_BADGES = {"ok": ("passed", "ok"), "warn": ("to look at", "warn"), "fail": ("failed", "bad")}


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of something is in use. `kind` is "", "warn" or "bad"."""

    used: int
    whole: int

    @property
    def kind(self) -> str:
        """The colour of the bar."""
        share = percent(self.used, self.whole)
        return "bad" if share >= ALARM else "warn" if share >= WARN else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of the doctor. `word` and `badge` are its verdict."""

    check: str
    word: str
    badge: str
    text: tuple[Piece, ...]
    remedy: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """Those to do something about, the failed ones first, and those that passed."""

    open: tuple[Finding, ...]
    passed: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """What one agent's files take. `whole` is its own limit in bytes, 0 if it has none."""

    agent: str
    used: int
    whole: int

    @property
    def meter(self) -> Meter:
        """The part of its own limit."""
        return Meter(self.used, self.whole)


@dataclass(frozen=True, slots=True)
class Space:
    """The agents with the most files. `rest` others have `rest_bytes`; of `unknown` ones nothing is known yet."""

    rows: tuple[Files, ...]
    rest: int
    rest_bytes: int
    unknown: int


def findings_of(rows: Sequence[Row]) -> Findings:
    """Return the findings in the order in which an operator reads them."""
    every = [(row, _finding(row)) for row in _with_agents_as_one(rows)]
    failed = [each for row, each in every if row.verdict == "fail"]
    warned = [each for row, each in every if row.verdict == "warn"]
    return Findings((*failed, *warned), tuple(each for row, each in every if row.verdict == "ok"))


def _with_agents_as_one(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with one for all agents to look at: each of them has its row on Needs you and Plan."""
    found = [row for row in rows if row.check == "agents" and row.verdict != "ok"]
    if len(found) < 2:
        return [*rows]
    worst = Verdict.FAIL if any(row.verdict == "fail" for row in found) else Verdict.WARN
    summed = Row("agents", worst, f"{len(found)} things about agents", "Needs you and Plan have each of them")
    return [summed, *(row for row in rows if row not in found)]


def _finding(row: Row) -> Finding:
    word, badge = _BADGES[row.verdict]
    return Finding(row.check, word, badge, prose(row.text), prose(row.remedy))


def space_of(agents: Iterable[AgentStatus]) -> Space:
    """Return whose files take the most."""
    every = tuple(agents)
    known = [
        Files(row.agent, row.disk_bytes, (row.disk_limit_mib or 0) * MIB) for row in every if row.disk_bytes is not None
    ]
    known.sort(key=lambda files: (-files.used, files.agent))
    rest = known[AGENTS_MOST:]
    return Space(tuple(known[:AGENTS_MOST]), len(rest), sum(files.used for files in rest), len(every) - len(known))


def disk_of(host: HostView) -> Meter:
    """Return the file system of hive's state."""
    return Meter(host.disk - host.disk_free, host.disk)


def inodes_of(host: HostView) -> Meter | None:
    """Return its inodes, None if it does not count them."""
    return None if host.inodes is None else Meter(host.inodes[1] - host.inodes[0], host.inodes[1])


def memory_of(host: HostView) -> Meter:
    """Return the memory of the machine, in rough steps."""
    return Meter(rough(host.memory - host.memory_free), rough(host.memory))


def rough(size: int) -> int:
    """Return a size of memory in steps that are worth a new picture."""
    return round(size / _TENTH) * _TENTH
