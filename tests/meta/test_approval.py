"""What an approval is bound to."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.approval import Binding, from_trailers, objection
from meta.names import Sha

ONE, TWO = Sha("1" * 40), Sha("2" * 40)
SHOWN = Binding(ONE, "a" * 40, "b" * 40, "/nix/store/x.drv", "f" * 20)
WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]))
GIVEN = WORD.filter(bool)
"""A commit and settings are never empty."""


def test_the_same_derivation_and_settings_keep_the_approval_though_inputs_moved() -> None:
    assert objection(SHOWN, SHOWN) is None
    assert objection(SHOWN, replace(SHOWN, nixpkgs="c" * 40, hive="d" * 40)) is None


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (replace(SHOWN, commit=TWO), "the commit was 111111111111, now it is 222222222222"),
        (replace(SHOWN, settings="0" * 20), "the container's settings are others"),
        (replace(SHOWN, derivation="/y"), "it evaluates to another system"),
        (replace(SHOWN, derivation="/y", nixpkgs="c" * 40), f"nixpkgs moved from {'a' * 12} to {'c' * 12}"),
        (replace(SHOWN, derivation="/y", hive=""), f"hive moved from {'b' * 12} to none"),
    ],
)
def test_anything_else_has_changed_since_it_was_shown(now: Binding, why: str) -> None:
    assert objection(SHOWN, now) == f"changed since it was shown: {why}"


@given(st.builds(Binding, GIVEN, WORD, WORD, WORD, GIVEN))
def test_what_was_shown_survives_as_trailers(shown: Binding) -> None:
    assert from_trailers(shown.trailers()) == shown
    written = {key: value for key, value in shown.trailers().items() if value}
    assert from_trailers(written) == shown, "a tag has no empty trailers"
    for name in ("Hive-Shown-Commit", "Hive-Shown-Settings"):
        assert from_trailers({key: value for key, value in written.items() if key != name}) is None


@pytest.mark.parametrize("part", [part.name for part in fields(Binding)])
def test_every_part_is_in_the_fingerprint(part: str) -> None:
    values = {each.name: getattr(SHOWN, each.name) for each in fields(Binding)}
    assert Binding(**{**values, part: "other"}).fingerprint() != SHOWN.fingerprint()
    assert len(SHOWN.fingerprint()) == 20
