"""A line of JSON: its bounds, and its value."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runtimes.json_line import MAX_DEPTH, MAX_VALUES, check_shape, parse

JSON = st.recursive(st.none() | st.text(alphabet='[]{},"\\a'), lambda inner: st.lists(inner, max_size=4), max_leaves=20)

TEXT = st.text(st.characters(), max_size=8)
"""With halves of surrogate pairs."""
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_a_line_may_be_nested_to_the_bound_and_not_deeper() -> None:
    padding = b"[" + b"0," * 200 + nested(MAX_DEPTH - 1) + b"]"
    check_shape(padding)
    with pytest.raises(ValueError, match="deep"):
        check_shape(b"[" + padding + b"]")


def test_brackets_in_texts_are_no_nesting_and_hide_none() -> None:
    check_shape(json.dumps({"text": "[{" * 1000}).encode())
    with pytest.raises(ValueError, match="deep"):
        check_shape(b'["' + b"]" * 1000 + b'",' + nested(200) + b"]")


@given(JSON)
def test_ordinary_json_is_within_the_bounds(value: Any) -> None:
    check_shape(json.dumps([value, [0] * 200]).encode())


@pytest.mark.parametrize("part", [b"[],", b"[", b"]", b"0,", b'"', b'\\"', b'"\\', b"\\", b'"a",'])
def test_a_line_of_8_mb_takes_no_long_look(part: bytes) -> None:
    data = b'{"a": "' + part * (8 * 2**20 // len(part))
    for each in (data, data[7:]):
        before = time.thread_time()
        with contextlib.suppress(ValueError):
            check_shape(each)
        assert time.thread_time() - before < 5  # the bound is that it is not quadratic: minutes


def test_a_line_with_too_many_values_is_refused() -> None:
    check_shape(b"[" + b"0," * (MAX_VALUES - 10) + b"0]")
    with pytest.raises(ValueError, match="many"):
        check_shape(b"[" + b"0," * MAX_VALUES + b"0]")


@given(ANY, st.booleans())
def test_what_json_writes_is_read_as_the_json_module_reads_it(value: Any, ascii: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    if not has_halves(data):
        assert parse(data) == json.loads(data)
    json.dumps(parse(data), ensure_ascii=False).encode("utf-8")


@given(ANY, st.integers(0), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_line_is_json_exactly_if_the_json_module_reads_it(
    value: Any, at: int, junk: bytes, more: int
) -> None:
    data = json.dumps(value).encode()
    at %= len(data) + 1
    data = data[:at] + junk + data[at + more :]
    assert read(parse, data) == read(by_the_json_module, data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'"a\ud800b"', "a\ufffdb"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'{"\ud800":1}', {"\ufffd": 1}),
        (b'"a\xffb"', "a\ufffdb"),
        (b"1e999", float("inf")),
    ],
)
def test_what_utf_8_or_a_float_cannot_express_has_another_value(data: bytes, value: object) -> None:
    assert parse(data) == value


def has_halves(data: bytes) -> bool:
    """Return True if a text in this JSON has half of a surrogate pair."""
    try:
        json.dumps(json.loads(data.decode("utf-8", "surrogatepass")), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def by_the_json_module(data: bytes) -> Any:
    """Return the value of a line as the json module reads it, with U+FFFD for what UTF-8 cannot express."""
    value = json.loads(data.decode("utf-8", "replace"), parse_constant=int)
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", text))


def read(parser: Callable[[bytes], Any], data: bytes) -> object:
    """Return the value as text, or None if it is no JSON."""
    try:
        return repr(parser(data))
    except ValueError:
        return None
