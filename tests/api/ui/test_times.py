"""Times in words, and what of them is news."""

from __future__ import annotations

import pytest

from api.ui.render import CSRF, digest
from api.ui.times import span, time_element


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (4_860, "1 h 21 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_a_span_has_the_words_that_people_use(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_time_has_its_exact_moment_for_people_and_for_programs() -> None:
    assert time_element(1_796_000_000, 1_796_000_720, "ago") == (
        '<time datetime="2026-11-30T00:53:20Z" title="30 Nov 2026, 00:53:20 UTC" data-form="ago">12 min ago</time>'
    )


@pytest.mark.parametrize("at", [-1.0, 1e18, float("inf")])
def test_a_time_that_no_calendar_has_is_shown_at_its_edge(at: float) -> None:
    assert "datetime=" in time_element(at, 0.0)


def test_a_time_that_ages_and_another_login_are_no_news() -> None:
    early, late = (f"<p>{time_element(1000, now)} {CSRF}</p>" for now in (1_010, 9_000))
    assert early != late and digest(early) == digest(late)
    assert digest(early) != digest(f"<p>{time_element(1001, 1_010)} {CSRF}</p>")
