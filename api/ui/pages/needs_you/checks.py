"""What hive checked of a proposal, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from api.ui.numbers import plural
from reconciler.views import Card, Diff

OK, WARN, BAD, RUN = "ok", "warn", "bad", "run"
SIGNS = {OK: "✓", WARN: "!", BAD: "✗", RUN: "…"}
WORDS = {OK: "passed", WARN: "warning", BAD: "failed", RUN: "under way"}


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its result, what it says, and what else is to know."""

    result: str
    text: str
    more: str = ""

    @property
    def sign(self) -> str:
        """Its mark."""
        return SIGNS[self.result]

    @property
    def word(self) -> str:
        """Its result in a word, for those who do not see the mark."""
        return WORDS[self.result]


def checks_of(card: Card, diff: Diff) -> tuple[Check, ...]:
    """Return the checks of a proposal that waits."""
    return tuple(_checks(card, diff))


def summarise(checks: Sequence[Check]) -> tuple[str, str, str]:
    """Return how many passed, warned and failed, each in words, "" for none."""
    number = {result: sum(check.result == result for check in checks) for result in (OK, WARN, BAD)}
    return (
        f"{plural(number[OK], 'check')} passed" if number[OK] else "",
        plural(number[WARN], "warning") if number[WARN] else "",
        f"{number[BAD]} failed" if number[BAD] else "",
    )


def _checks(card: Card, diff: Diff) -> Iterator[Check]:
    if card.stale:
        yield Check(BAD, "It was made for an older commit", card.stale)
    if diff.complaint is not None:
        yield Check(BAD, "It cannot be built", diff.complaint)
    else:
        yield Check(OK, "Its files are valid")
    yield from _preview(diff)
    if diff.cut is not None:
        yield Check(WARN, "The diff does not show everything", diff.cut)
    else:
        yield Check(OK, "The diff shows every change")
    if diff.invisible:
        yield Check(WARN, "It has characters that nobody sees", ", ".join(diff.invisible))
    if card.model_override is not None:
        yield Check(WARN, "Its model is hidden", f"you have set {card.model_override}")
    if card.merges_left_out:
        yield Check(WARN, f"{card.merges_left_out} merges were left out when it was rebased")


def _preview(diff: Diff) -> Iterator[Check]:
    if not diff.previews or diff.complaint is not None:
        return
    if diff.shown is None:
        yield Check(RUN, "What it would build is being worked out")
    elif diff.same:
        yield Check(WARN, "The system that it builds is what runs now")
    else:
        yield Check(OK, "Evaluates")
