"""The answer that the form of a question means."""

from __future__ import annotations

import pytest

from api.ui.pages.needs_you.acting import answer_text
from meta.errors import BadInput
from reconciler.messaging.questions import Question


def _question(*, multi: bool = False, options: tuple[str, ...] = ("red", "blue")) -> Question:
    return Question(1, "alice", "operator", "which?", options, multi, 5)


@pytest.mark.parametrize(
    ("multi", "choice", "other", "answer"),
    [
        (False, ("1",), "", "blue"),
        (True, ("0", "1"), "", "red, blue"),
        (True, ("0", "other"), " grey ", "red, grey"),
        (False, ("other",), "grey", "grey"),
    ],
)
def test_an_answer_is_the_chosen_options_joined_by_commas(
    multi: bool, choice: tuple[str, ...], other: str, answer: str
) -> None:
    assert answer_text(_question(multi=multi), choice, other) == answer


def test_a_question_without_options_takes_a_text() -> None:
    assert answer_text(_question(options=()), (), "do it") == "do it"


@pytest.mark.parametrize(
    ("choice", "other"),
    [((), ""), (("0",), "typed, not chosen"), (("other",), ""), (("7",), ""), (("9" * 5_000,), ""), (("0", "1"), "")],
)
def test_an_answer_that_means_nothing_or_would_lose_a_text_is_refused(choice: tuple[str, ...], other: str) -> None:
    with pytest.raises(BadInput):
        answer_text(_question(), choice, other)


def test_a_text_beside_chosen_options_counts_only_if_it_is_chosen_too() -> None:
    with pytest.raises(BadInput):
        answer_text(_question(multi=True), ("0",), "grey")
