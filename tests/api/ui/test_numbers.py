"""Numbers and names of versions in words."""

from __future__ import annotations

import pytest

from api.ui.numbers import revision


@pytest.mark.parametrize(
    ("text", "shown"), [("0123456789abcdef" * 2, "0123456"), ("0.1.0+b5fc10", "0.1.0+b5fc10"), ("", "")]
)
def test_a_hash_is_cut_to_seven_digits_and_a_version_is_shown_whole(text: str, shown: str) -> None:
    assert revision(text) == shown
