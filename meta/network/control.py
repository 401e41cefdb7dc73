"""The control socket of `hive-egress`: JSON lines over a unix stream socket. Standard library only.

    {"do": "set-policy", "policy": {...}}   -> {"ok": true, "policy": REVISION}
    {"do": "report"}                        -> {"ok": true, "report": {...}}
    {"do": "connections", "agent": "alice", "after": 17}   -> {"ok": true, "connections": [...]}
    {"do": "watch"}                         -> {"ok": true}, and then {"changed": true} at most every WATCH_SECONDS
    anything else                           -> {"ok": false, "error": "what", "hint": "what to do"}

`set-policy` is answered once the new policy is obeyed and on the disk. A watcher reads the report for itself, so it
misses nothing and nothing queues. The daemon alone may connect: the socket's folder is its group's, and the peer's uid
is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from meta.errors import BadInput
from meta.network.report import AgentReport, ConnectionRecord, Metered, Refusal, Report
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
        raise BadInput(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadInput("not an object")
    return document


def encode_report(report: Report) -> dict[str, object]:
    """Return the report as a document."""
    return asdict(report)


def decode_report(document: object) -> Report:
    """Return the report of a document. Raise BadInput."""
    try:
        row = dict(document)  # type: ignore[call-overload]
        agents = {str(name): _agent(value) for name, value in row.pop("agents").items()}
        return Report(**{**row, "agents": agents, "problems": tuple(row["problems"])})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"no report of hive-egress: {error}") from error


def encode_connections(records: list[ConnectionRecord]) -> list[dict[str, object]]:
    """Return connections as documents."""
    return [asdict(record) for record in records]


def decode_connections(documents: object) -> list[ConnectionRecord]:
    """Return the connections of documents. Raise BadInput."""
    try:
        rows = [dict(row) for row in documents]  # type: ignore[attr-defined]
        return [ConnectionRecord(**{**row, "verdict": Verdict(row["verdict"])}) for row in rows]
    except (TypeError, ValueError, KeyError) as error:
        raise BadInput(f"no connections of hive-egress: {error}") from error


def _agent(value: Any) -> AgentReport:
    row = dict(value)
    refusals = tuple(Refusal(**{**each, "verdict": Verdict(each["verdict"])}) for each in row.pop("refusals"))
    verdicts = {Verdict(name): count for name, count in row.pop("verdicts").items()}
    metered = {day: Metered(**each) for day, each in row.pop("metered").items()}
    return AgentReport(**row, verdicts=verdicts, refusals=refusals, metered=metered)
