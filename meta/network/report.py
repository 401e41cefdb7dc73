"""What `hive-egress` reports to the daemon: what went where, what was refused, and the tokens that the models' APIs
answered. Everything is by level: the daemon may read it again at any time. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meta.network.verdict import Verdict

REFUSALS_LIMIT = 200
"""Different refused hosts and ports of one agent that are kept; those beyond count as one, OTHERS."""
OTHERS = ("*", 0)
"""The host and port that the row of all others has."""
REFUSALS_REPORTED = 20_000
"""Refused hosts and ports of all agents in one report: the latest of each agent, if there are more."""
CONNECTIONS_KEPT = 500
"""Ended connections of one agent that are kept for `hive network`."""
DAYS_KEPT = 40


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host and port that an agent wanted and did not get. Times are Unix seconds.

    It is dropped once a rule covers it; when it is refused again later, `first` is new.
    """

    host: str
    port: int
    verdict: Verdict
    count: int
    first: float
    last: float

    @property
    def may_be_asked(self) -> bool:
        """Return True if the operator may allow it with a rule. The row of all others together names no host."""
        return self.verdict.may_be_asked and (self.host, self.port) != OTHERS


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """One connection that ended or was refused; `open` is True while it goes on. `number` only grows; a
    connection has it from its end on, and 0 while it is open.

    `kind` is `tunnel`, `http` or `route`. `sent` and `received` are bytes as the agent sees it, of what was carried.
    `end` is a word for the end: `closed`, `policy`, `limit`, `idle`, `error`, or "" while it is open.
    """

    number: int
    at: float
    kind: str
    host: str
    port: int
    verdict: Verdict
    reason: str = ""
    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    end: str = ""

    @property
    def open(self) -> bool:
        """Return True while the connection goes on."""
        return not self.end


@dataclass(frozen=True, slots=True)
class Metered:
    """Tokens of one agent on one day (UTC), as the API's answers have them; requests that were answered."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class AgentReport:
    """The sums of one agent since `hive-egress` first saw it; they survive its restarts. `metered` by day: 2026-11-30.

    `problem`: why the agent has no way out, "" if it has.
    """

    open: int = 0
    verdicts: Mapping[Verdict, int] = field(default_factory=dict)
    sent: int = 0
    received: int = 0
    refusals: tuple[Refusal, ...] = ()
    metered: Mapping[str, Metered] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. `policy` is the revision that is obeyed, "" before the first one.

    `version` is that of the protocol, `revision` hive's own at the start of the process, `pid` and `started` its own.
    `routes` has each configured key with what is wrong with it, "" if nothing is. `problems` are of the process.
    """

    version: int
    revision: str
    pid: int
    started: float
    policy: str
    agents: Mapping[str, AgentReport] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
