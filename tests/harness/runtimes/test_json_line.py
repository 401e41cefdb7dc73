"""The bounds of a line of JSON."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runtimes.json_line import MAX_DEPTH, MAX_VALUES, check_shape

JSON = st.recursive(st.none() | st.text(alphabet='[]{},"\\a'), lambda inner: st.lists(inner, max_size=4), max_leaves=20)


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
        assert time.thread_time() - before < 1


def test_a_line_with_too_many_values_is_refused() -> None:
    check_shape(b"[" + b"0," * (MAX_VALUES - 10) + b"0]")
    with pytest.raises(ValueError, match="many"):
        check_shape(b"[" + b"0," * MAX_VALUES + b"0]")
