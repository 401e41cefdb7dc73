"""The control socket of `hive-egress`: JSON lines over a unix stream socket. Standard library only.

    {"do": "set-policy", "policy": {...}}   -> {"ok": true, "policy": REVISION}
    {"do": "report"}                        -> {"ok": true, "report": {...}}
    {"do": "connections", "agent": "alice", "after": 17}   -> {"ok": true, "connections": [...]}
    {"do": "watch"}                         -> {"ok": true}, and then {"changed": true} at most every WATCH_SECONDS
    anything else                           -> {"ok": false, "error": "what", "hint": "what to do"}

`set-policy` is answered once the new policy is obeyed and on the disk; one that cannot be written is obeyed and is a
problem in the report. A watcher reads the report for itself, so it
misses nothing and nothing queues. The daemon alone may connect: the socket's folder is its group's, and the peer's uid
is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from meta.errors import BadInput
from meta.network.records import by_key, count, each, record, text, texts
from meta.network.report import REFUSALS_REPORTED, AgentReport, ConnectionRecord, Metered, Refusal, Report
from meta.network.verdict import Verdict

VERSION = 1
"""Of the protocol. A daemon replaces a `hive-egress` of another one."""
LINE_LIMIT = 16 * 2**20
"""Bytes of a line, both ways."""
WATCH_SECONDS = 0.25


def encode_line(document: Mapping[str, object]) -> bytes:
    """Return a document as a line."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the object of a line. Raise BadInput."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise BadInput("not an object")
    return document


def encode_report(report: Report) -> dict[str, object]:
    """Return the report as a document that fits a line, however many agents there are."""
    return {
        "version": report.version,
        "revision": report.revision,
        "pid": report.pid,
        "started": report.started,
        "policy": report.policy,
        "agents": _encode_agents(report.agents),
        "routes": dict(report.routes),
        "problems": list(report.problems),
    }


def encode_agent(report: AgentReport) -> dict[str, object]:
    """Return the report of one agent as a document. Written out: `asdict` takes ten times as long."""
    return {
        "open": report.open,
        "verdicts": dict(report.verdicts),
        "sent": report.sent,
        "received": report.received,
        "refusals": [
            {
                "host": refusal.host,
                "port": refusal.port,
                "verdict": refusal.verdict,
                "count": refusal.count,
                "first": refusal.first,
                "last": refusal.last,
            }
            for refusal in report.refusals
        ],
        "metered": {day: asdict(tokens) for day, tokens in report.metered.items()},
        "problem": report.problem,
    }


def decode_report(document: object) -> Report:
    """Return the report of a document. Raise BadInput."""
    return record(Report, document, agents=by_key(str, _agent), routes=by_key(str, text), problems=texts)


def version_of(document: object) -> int | None:
    """Return the version of the protocol in the report of any hive-egress, None if it has none."""
    version = document.get("version") if isinstance(document, dict) else None
    return version if isinstance(version, int) else None


def encode_connections(records: list[ConnectionRecord]) -> list[dict[str, object]]:
    """Return connections as documents."""
    return [asdict(record) for record in records]


def decode_connections(documents: object) -> list[ConnectionRecord]:
    """Return the connections of documents. Raise BadInput."""
    return list(each(_connection)(documents))


def _encode_agents(agents: Mapping[str, AgentReport]) -> dict[str, object]:
    if sum(len(report.refusals) for report in agents.values()) > REFUSALS_REPORTED:
        most = REFUSALS_REPORTED // len(agents)
        agents = {agent: replace(report, refusals=_latest(report.refusals, most)) for agent, report in agents.items()}
    return {agent: encode_agent(report) for agent, report in agents.items()}


def _latest(refusals: tuple[Refusal, ...], most: int) -> tuple[Refusal, ...]:
    by_time = sorted(refusals, key=lambda refusal: refusal.last, reverse=True)
    return tuple(by_time[:most])


def _agent(value: object) -> AgentReport:
    return record(
        AgentReport,
        value,
        verdicts=by_key(Verdict, count),
        refusals=each(_refusal),
        metered=by_key(str, _metered),
    )


def _refusal(value: object) -> Refusal:
    return record(Refusal, value, verdict=Verdict)


def _metered(value: object) -> Metered:
    return record(Metered, value)


def _connection(value: object) -> ConnectionRecord:
    return record(ConnectionRecord, value, verdict=Verdict)
