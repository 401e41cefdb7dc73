"""What hive-egress and the daemon say to each other: reports and connections are read again, and nothing else is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta.errors import BadInput
from meta.network import control
from meta.network.report import REFUSALS_REPORTED, AgentReport, ConnectionRecord, Metered, Refusal, Report
from meta.network.verdict import Verdict

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
COUNTS = st.integers(0, 2**62)
TIMES = st.floats(0, 2.0**40)
TEXTS = st.text(max_size=10)
VERDICTS = st.sampled_from(Verdict)
REFUSALS = st.builds(Refusal, TEXTS, COUNTS, VERDICTS, COUNTS, TIMES, TIMES)
RECORDS = st.builds(
    ConnectionRecord, COUNTS, TIMES, TEXTS, TEXTS, COUNTS, VERDICTS, TEXTS, COUNTS, COUNTS, TIMES, TEXTS
)
AGENTS = st.builds(
    AgentReport,
    COUNTS,
    st.dictionaries(VERDICTS, COUNTS, max_size=3),
    COUNTS,
    COUNTS,
    st.lists(REFUSALS, max_size=2).map(tuple),
    st.dictionaries(TEXTS, st.builds(Metered, COUNTS, COUNTS, COUNTS, COUNTS), max_size=2),
    TEXTS,
)
REPORTS = st.builds(
    Report,
    COUNTS,
    TEXTS,
    COUNTS,
    TIMES,
    TEXTS,
    st.dictionaries(TEXTS, AGENTS, max_size=2),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.lists(TEXTS, max_size=2).map(tuple),
)


@QUICK
@given(REPORTS)
def test_a_report_is_the_same_after_the_line(report: Report) -> None:
    line = control.encode_line(control.encode_report(report))
    assert line.count(b"\n") == 1
    assert control.decode_report(control.decode_line(line)) == report


@QUICK
@given(st.lists(RECORDS, max_size=3))
def test_connections_are_the_same_after_the_line(records: list[ConnectionRecord]) -> None:
    line = control.encode_line({"connections": control.encode_connections(records)})
    assert control.decode_connections(control.decode_line(line)["connections"]) == records


def refusals(count: int) -> tuple[Refusal, ...]:
    """Return refusals of names as long as a name can be, each later than the one before."""
    host = f"{'x' * 63}.{'y' * 63}.{'z' * 63}.{'w' * 57}"
    return tuple(
        Refusal(f"{n:03d}{host}", 65535, Verdict.PRIVATE, 10**9, n + 0.123456, n + 0.123456) for n in range(count)
    )


def test_a_report_of_very_many_agents_has_the_latest_refusals_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REFUSALS_REPORTED", 6)
    many, few = AgentReport(refusals=refusals(5)), AgentReport(refusals=refusals(2))
    report = Report(1, "", 5, 1.0, "", {"alice": many, "bob": few})

    agents = control.decode_report(control.encode_report(report)).agents

    assert [refusal.first for refusal in agents["alice"].refusals] == [4.123456, 3.123456, 2.123456]
    assert len(agents["bob"].refusals) == 2


def test_as_many_refusals_as_a_report_may_have_fit_half_a_line() -> None:
    report = Report(1, "", 5, 1.0, "", {"alice": AgentReport(refusals=refusals(100))})
    assert len(control.encode_line(control.encode_report(report))) / 100 * REFUSALS_REPORTED < control.LINE_LIMIT / 2


def good() -> dict[str, Any]:
    agent = AgentReport(1, {Verdict.ALLOWED: 1}, 1, 1, (Refusal("a", 1, Verdict.SNI, 1, 1.0, 2.0),), {"day": Metered()})
    report = Report(1, "r", 5, 1.0, "p", {"alice": agent}, {"git": ""}, ("x",))
    document = json.loads(json.dumps(control.encode_report(report)))
    assert control.decode_report(document) == report
    return dict(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pid",), "5"),
        (("pid",), True),
        (("pid",), -1),
        (("pid",), 10**400),
        (("started",), float("nan")),
        (("started",), float("inf")),
        (("revision",), None),
        (("more",), 1),
        (("agents",), []),
        (("agents", "alice"), None),
        (("agents", "alice", "open"), 1.5),
        (("agents", "alice", "verdicts"), {"odd": 1}),
        (("agents", "alice", "verdicts"), {"sni": "1"}),
        (("agents", "alice", "refusals"), {}),
        (("agents", "alice", "refusals"), [None]),
        (("agents", "alice", "refusals", 0, "verdict"), "odd"),
        (("agents", "alice", "refusals", 0, "verdict"), []),
        (("agents", "alice", "refusals", 0, "count"), None),
        (("agents", "alice", "refusals", 0, "more"), None),
        (("agents", "alice", "metered"), {"day": {"input": "1"}}),
        (("routes",), {"git": 1}),
        (("problems",), "xy"),
        (("problems",), [1]),
    ],
)
def test_a_report_that_is_wrong_in_one_place_is_refused(path: tuple[Any, ...], value: object) -> None:
    document: Any = good()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BadInput):
        control.decode_report(document)


@pytest.mark.parametrize("key", ["version", "pid", "policy"])
def test_a_report_without_a_key_is_refused(key: str) -> None:
    document = good()
    del document[key]
    with pytest.raises(BadInput, match=key):
        control.decode_report(document)


@pytest.mark.parametrize("documents", [None, {}, [1], [{}], [{"number": 1}], "x"])
def test_what_are_no_connections_is_refused(documents: object) -> None:
    with pytest.raises(BadInput):
        control.decode_connections(documents)


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"null", b"[" * 100_000, b'{"a":' * 50_000, b"\xff", b"9" * 9000])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(BadInput):
        control.decode_line(line)


def test_the_version_of_a_report_that_cannot_be_read_is_known() -> None:
    assert control.version_of({**good(), "version": 7, "more": 1}) == 7
    assert control.version_of({"version": "7"}) is None and control.version_of([]) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*good(), "alice"]), inner),
    max_leaves=12,
)


@QUICK
@given(JSON)
def test_no_document_breaks_the_readers(document: object) -> None:
    for read in (control.decode_report, control.decode_connections):
        with contextlib.suppress(BadInput):
            read(document)
