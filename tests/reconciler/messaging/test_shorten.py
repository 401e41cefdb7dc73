"""Texts that have to fit: the short stay whole, the long are cut alike and show it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reconciler.messaging.shorten import shortened, size
from reconciler.store.texts import CUT


def test_what_fits_stays_as_it_is() -> None:
    assert shortened(["a", "", "ü" * 10], 21) == ["a", "", "ü" * 10]
    assert shortened([], 0) == []


def test_long_texts_are_cut_and_short_ones_are_not() -> None:
    assert shortened(["short", "x" * 1000, "y" * 1000], 45) == ["short", "x" * 17 + CUT, "y" * 17 + CUT]


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=20), st.integers(60, 300))
def test_together_they_fit_and_each_is_a_beginning(texts: list[str], budget: int) -> None:
    made = shortened(texts, budget)
    assert sum(map(size, made)) <= budget
    for text, short in zip(texts, made, strict=True):
        assert short == text or (short.endswith(CUT) and text.startswith(short[: -len(CUT)]))
    assert size("\x01ü\n") == len(json.dumps("\x01ü\n", ensure_ascii=False).encode()) - 2
