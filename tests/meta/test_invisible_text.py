"""No character without ink reaches a reader as it is."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.words import texts
from meta.text import (
    CATEGORIES,
    FILLERS,
    is_invisible,
    name_invisible,
    one_line,
    scrub,
    show_invisible,
    show_invisible_in_json,
)

EXAMPLES = {
    "Cc": "\x1b\x07\x85\r\x0b",
    "Cf": "\u200b\u200d\u2060\ufeff\u00ad\u061c\u202e\u2066\u2069\u180e\U000e0001\U000e0041",
    "Cn": "\u0378\U000e0fff\U0010ffff",
    "Co": "\ue000\U000f0000",
    "Cs": "\ud800\udfff",
    "Zl": "\u2028",
    "Zp": "\u2029",
    "Zs": "\u00a0\u2003\u3000",
}


BLANK_SIGN = "\u2422"
"""A crossed b: the sign for a blank, which has ink. So have the fillers that are punctuation."""


def test_each_category_has_examples() -> None:
    assert EXAMPLES.keys() == CATEGORIES.keys()
    assert all(unicodedata.category(char) == name for name, chars in EXAMPLES.items() for char in chars)


@pytest.mark.parametrize("category", EXAMPLES)
def test_a_character_of_the_category_is_shown_as_its_escape(category: str) -> None:
    for char in EXAMPLES[category]:
        shown = show_invisible(f"a{char}b")
        assert shown == (f"a\\u{ord(char):04x}b" if ord(char) < 0x10000 else f"a\\U{ord(char):08x}b")


@pytest.mark.parametrize("chars", sorted(FILLERS))
def test_a_filler_is_shown_as_its_escape(chars: str) -> None:
    assert all(is_invisible(char) for char in chars)
    assert show_invisible(chars).isascii()


def test_every_character_that_unicode_calls_filler_selector_or_blank_is_invisible() -> None:
    words = ("FILLER", "VARIATION SELECTOR", "BLANK", "ZERO WIDTH", "INVISIBLE", "JOINER", "INHERENT", "NULL NOTEHEAD")
    named = (
        chr(code) for code in range(sys.maxunicode + 1) if any(w in unicodedata.name(chr(code), "") for w in words)
    )
    missed = [char for char in named if not is_invisible(char)]
    assert [char for char in missed if unicodedata.category(char) != "Po" and char != BLANK_SIGN] == []


@pytest.mark.parametrize("text", ["täglich\n\tgrün", "日本語", "e\u0301", "→ ✨ 😀", "नमस्ते", "שלום", "a b"])
def test_text_with_ink_stays_as_it_is(text: str) -> None:
    assert show_invisible(text) == text
    assert scrub(text) == text


@given(st.text())
def test_json_keeps_its_value_and_shows_no_invisible_character(text: str) -> None:
    shown = show_invisible_in_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert not any(map(is_invisible, shown))


@given(st.text())
def test_what_is_kept_and_what_is_printed_has_only_lines_that_git_knows(text: str) -> None:
    for clean in (scrub(text), texts.escape(text)):
        assert not any(map(is_invisible, clean))
        assert len(clean.splitlines()) <= clean.count("\n") + 1
    assert one_line(text).count("\n") == 0


def test_the_characters_are_named() -> None:
    assert name_invisible("a\u200bb", "\U000e0041 c") == (
        "U+200B ZERO WIDTH SPACE",
        "U+E0041 TAG LATIN CAPITAL LETTER A",
    )
    assert name_invisible("plain\n\ttext") == ()
    assert name_invisible("".join(map(chr, range(0x2000, 0x2030))))[-1].startswith("and ")
