"""Each recorded stream of the real CLI (2.1.329) leads to the outcome that it had, and no damage to it does harm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.events.encoding import encode_line
from harness.runtimes.base import Ending, TurnOutcome
from harness.runtimes.claude.exchange import Exchange, Meter
from harness.runtimes.claude.facts import Result
from harness.runtimes.claude.lines import Parsed, parse_line
from harness.watchdog import Watchdog
from meta.wire.live import Stream, TextDelta, ToolResult, Unknown, decode_event

STREAMS = sorted((Path(__file__).parent / "streams").glob("*.jsonl"))
NOW = 1_795_225_000.0
RESETS = 1_795_232_555.0


@dataclass(frozen=True)
class Told:
    """What the adapter does with a stream: the outcomes of its turns, one after another."""

    outcomes: list[TurnOutcome]
    parsed: list[Parsed]


def replay(lines: list[bytes], *, interrupted: bool = False, code: int | None = 143) -> Told:
    """Return the outcome of each turn in a stream. A turn that has no result ends with the CLI."""
    meter = Meter(0.0)
    outcomes, parsed = [], []
    exchange = Exchange("not in the stream", meter)
    interrupt = exchange.interrupt if interrupted else lambda: None
    interrupt()
    for line in lines:
        parsed.append(parse_line(line))
        for fact in parsed[-1].facts:
            exchange.take(fact)
        if exchange.finished:
            outcomes.append(exchange.outcome(NOW, None, ""))
            exchange = Exchange("not in the stream", meter)
    if not outcomes:
        outcomes.append(exchange.outcome(NOW, code, "the last words"))
    return Told(outcomes, parsed)


def stream(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def named(number: int) -> Path:
    return STREAMS[number - 1]


OK, PARKED, REFUSED = [Ending.OK], [Ending.PARKED], [Ending.REFUSED]
INTERRUPTED = {7, 8, 24, 26}
ENDINGS: dict[int, list[Ending]] = {
    5: OK * 3,
    7: [Ending.CANCELLED, Ending.OK],
    8: [Ending.CANCELLED, Ending.OK],
    11: [Ending.OVERFLOW],
    15: PARKED,
    16: PARKED,
    17: PARKED,
    18: PARKED,
    19: [Ending.NEEDS_LOGIN],
    20: PARKED,
    21: REFUSED,
    22: PARKED,
    23: PARKED,
    24: [Ending.CANCELLED],
    25: [Ending.CRASHED],
    26: [Ending.CANCELLED],
    27: [Ending.CRASHED],
    30: OK * 3,
    31: REFUSED,
    32: REFUSED,
    36: OK * 4,
    38: PARKED,
    39: [Ending.NEEDS_LOGIN],
    41: OK * 4,
}
"""The endings of the turns in a stream, by its number. Not named: one turn that is ok."""


def test_there_are_all_streams() -> None:
    assert [int(path.name[:2]) for path in STREAMS] == list(range(1, 43))


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_recorded_stream_leads_to_its_outcome(path: Path) -> None:
    number = int(path.name[:2])
    told = replay(stream(path), interrupted=number in INTERRUPTED)
    assert [outcome.ending for outcome in told.outcomes] == ENDINGS.get(number, OK)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_each_line_of_a_recorded_stream_is_known(path: Path) -> None:
    unknown = [item.name for line in stream(path) for item in parse_line(line).items if isinstance(item, Unknown)]
    assert unknown == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (17, "Request rejected (429)"),
        (19, "`hive login AGENT`"),
        (20, "`hive model AGENT NAME`"),
        (23, "ECONNREFUSED"),
        (25, "claude ended with exit code 143 in the turn: the last words"),
        (31, "limits"),
        (39, "OAuth token has expired"),
    ],
)
def test_a_reason_says_what_is_wrong_and_what_helps(number: int, words: str) -> None:
    assert words in replay(stream(named(number))).outcomes[0].reason


def test_a_limit_lasts_until_the_time_that_the_api_named() -> None:
    assert replay(stream(named(38))).outcomes[0].until == RESETS


def test_a_limit_of_which_only_the_text_names_the_time_lasts_until_then() -> None:
    lines = [line for line in stream(named(38)) if b"rate_limit_event" not in line]
    assert replay(lines).outcomes[0].until == RESETS - 35  # the text has no seconds


def test_the_result_of_work_in_the_background_is_not_that_of_the_next_turn() -> None:
    lines = stream(named(28))
    first, second = [at for at, line in enumerate(lines) if json.loads(line)["type"] == "result"]
    meter = Meter(0.0)
    exchange = Exchange("next", meter)
    for line in lines[first + 1 : second + 1]:
        for fact in parse_line(line).facts:
            exchange.take(fact)
    assert not exchange.answered


def test_what_the_background_cost_is_on_the_next_bill() -> None:
    lines = stream(named(28))
    told = replay(lines + stream(named(1)))
    costs = [outcome.tokens.cost_dollars for outcome in told.outcomes]
    assert costs == [pytest.approx(0.00096), pytest.approx(0.00018 + 0.00018)]


def test_a_turn_costs_what_it_added_and_not_what_the_conversation_cost() -> None:
    told = replay(stream(named(5)))
    assert [outcome.tokens.cost_dollars for outcome in told.outcomes] == [
        pytest.approx(0.00018),
        pytest.approx(0.000705),
        pytest.approx(0.00015),
    ]
    assert [(outcome.tokens.input, outcome.tokens.output) for outcome in told.outcomes] == [(10, 10), (20, 43), (10, 8)]


@pytest.mark.parametrize(("base", "first"), [(0.0, 0.00018), (None, None), (0.0001, 0.00008)])
def test_a_cli_that_reports_only_the_sum_is_billed_by_the_difference(base: float | None, first: float | None) -> None:
    meter = Meter(base)
    dollars = []
    for line in stream(named(5)):
        value = {key: part for key, part in json.loads(line).items() if key != "model_usage_since_last_result"}
        for fact in parse_line(json.dumps(value).encode()).facts:
            meter.take(fact)
        if value["type"] == "result":
            dollars.append(meter.bill().cost_dollars)
    assert dollars == [None if first is None else pytest.approx(first), pytest.approx(0.000705), pytest.approx(0.00015)]


def test_the_context_is_that_of_the_last_request_and_shrinks_by_a_compaction() -> None:
    assert replay(stream(named(4))).outcomes[0].tokens.context == 21
    assert replay(stream(named(10))).outcomes[0].tokens.context == 2663
    assert replay(stream(named(1))).outcomes[0].tokens.window == 200_000


def texts(value: object) -> str:
    return json.dumps(value, sort_keys=True)


damage = st.lists(
    st.tuples(st.sampled_from(["cut", "flip", "drop", "twice", "swap", "junk"]), st.integers(0, 10**6), st.binary()),
    max_size=8,
)


def damaged(lines: list[bytes], steps: list[tuple[str, int, bytes]]) -> list[bytes]:
    lines = list(lines)
    for how, where, junk in steps:
        at = where % len(lines)
        clean = junk.replace(b"\n", b"")
        match how:
            case "cut":
                lines[at] = lines[at][: where % (len(lines[at]) + 1)]
            case "flip":
                middle = where % (len(lines[at]) + 1)
                lines[at] = lines[at][:middle] + clean + lines[at][middle + len(clean) :]
            case "drop" if len(lines) > 1:
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "swap":
                lines[at], lines[-1] = lines[-1], lines[at]
            case "junk":
                lines.insert(at, clean)
    return lines


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), damage)
def test_a_damaged_stream_raises_nothing_and_loses_no_line(path: Path, steps: list[tuple[str, int, bytes]]) -> None:
    lines = damaged(stream(path), steps)
    told = replay(lines)
    assert len(told.parsed) == len(lines)
    for line, parsed in zip(lines, told.parsed, strict=True):
        try:
            whole = texts(json.loads(line.decode("utf-8", "replace")))
        except ValueError:
            assert any(isinstance(item, Unknown) for item in parsed.items)
        else:
            assert texts(parsed.line) == whole
    assert all(isinstance(outcome.ending, Ending) for outcome in told.outcomes)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(STREAMS), st.data())
def test_a_line_with_values_of_other_types_raises_nothing_and_can_be_stored(path: Path, data: st.DataObject) -> None:
    value = json.loads(data.draw(st.sampled_from(stream(path))))
    spot = value
    for _ in range(data.draw(st.integers(1, 4))):
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(spot[key], dict | list) and spot[key]):
            break
        spot = spot[key]
    keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
    spot[data.draw(st.sampled_from(keys))] = data.draw(anything)
    parsed = parse_line(json.dumps(value).encode())
    exchange = Exchange("x", Meter(0.0))
    for fact in parsed.facts:
        exchange.take(fact)
    assert isinstance(exchange.outcome(NOW, None, ""), TurnOutcome)
    text = encode_line(parsed.items, parsed.line)
    assert isinstance(decode_event(text.encode("utf-8")), Stream)


def test_a_line_of_an_unknown_type_is_kept_and_named() -> None:
    parsed = parse_line(b'{"type":"telepathy","x":1}')
    assert parsed == Parsed({"type": "telepathy", "x": 1}, (Unknown(name="telepathy"),))
    assert parse_line(b'{"type":"system","subtype":"news"}').items == (Unknown(name="system/news"),)


@pytest.mark.parametrize("line", [b"Segmentation fault", b"", b"\xff\xfe", b"[" * 5000, b'{"a":NaN}', b"9" * 5000])
def test_a_line_that_is_not_json_is_kept_as_text(line: bytes) -> None:
    parsed = parse_line(line)
    assert (parsed.line, parsed.items) == (line.decode("utf-8", "replace"), (Unknown(name="not JSON"),))


def test_a_line_that_is_too_long_is_kept_as_its_head_with_its_size() -> None:
    parsed = parse_line(b'{"type":"ass', 50_000_000)
    assert (parsed.line, parsed.items) == ('{"type":"ass[...]', (Unknown(name="a line of 50000012 bytes"),))


def test_a_long_reason_is_its_beginning() -> None:
    (result,) = parse_line(json.dumps({"type": "result", "result": "why " * 10_000}).encode()).facts
    assert isinstance(result, Result)
    assert (result.text[:8], len(result.text)) == ("why why ", 499)


def test_half_of_a_surrogate_pair_is_replaced_wherever_it_stands() -> None:
    line = rb'{"type":"assistant","message":{"content":[{"type":"text","text":"a\ud800b"}]},"\udfff":["\ud83d\ude00"]}'
    parsed = parse_line(line)
    encode_line(parsed.items, parsed.line).encode("utf-8")
    assert parsed.line["\ufffd"] == ["\U0001f600"]  # type: ignore[index]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_what_is_said_again_is_said_whole_by_a_line_that_is_kept(path: Path) -> None:
    parsed = [parse_line(line) for line in stream(path)]
    kept = [line for line in parsed if not line.repeated]
    assert not any(isinstance(item, TextDelta) for line in kept for item in line.items)
    repeated = [line for line in parsed if line.repeated]
    assert all(isinstance(item, TextDelta) for line in repeated for item in line.items)
    assert not any("stream_event" in str(line.line)[:60] for line in kept)


@pytest.mark.parametrize("event", [{"type": "new"}, {"type": "content_block_delta", "delta": {"type": "new"}}, {}, 5])
def test_a_piece_of_an_unknown_kind_is_kept(event: object) -> None:
    assert not parse_line(json.dumps({"type": "stream_event", "event": event}).encode()).repeated


@pytest.mark.parametrize(
    ("content", "failed"),
    [([{"type": "web_search_result", "title": "x"}], False), ({"type": "web_search_tool_result_error"}, True)],
)
def test_a_tool_that_the_api_runs_itself_ends_with_its_result(content: object, failed: bool) -> None:
    call = {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "a", "content": content}
    watchdog = Watchdog(600, 1800, lambda: 0.0)
    watchdog.line(parse_line(json.dumps({"type": "assistant", "message": {"content": [call]}}).encode()).items)
    assert watchdog.limit == 1800
    items = parse_line(json.dumps({"type": "assistant", "message": {"content": [result]}}).encode()).items
    watchdog.line(items)
    assert watchdog.limit == 600
    assert [item.is_error for item in items if isinstance(item, ToolResult)] == [failed]
