"""Text of unknown origin becomes fit to be kept and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.text import LINE_LIMIT, TEXT_LIMIT, one_line, scrub, size

hostile = st.one_of(st.text(), st.text(st.sampled_from("\n \tsk-ant-\r\x1b[0m\x00\x85\u2028é")))


@given(hostile)
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@given(st.text(), st.integers(1, 50))
def test_scrubbed_text_keeps_its_limit(text: str, limit: int) -> None:
    assert len(scrub(text, limit)) <= limit
    assert len(one_line(text, limit)) <= limit


def test_the_end_of_long_text_is_kept() -> None:
    text = scrub("begin" + "x" * TEXT_LIMIT + "\nerror: here")
    assert text.startswith("[...]\n")
    assert text.endswith("error: here")
    assert one_line("begin" + "x" * LINE_LIMIT).startswith("begin")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("10%\r20%\r\ndone", "10%\n20%\ndone"),
        ("a\x00b\x07c\x7fd", "abcd"),
        ("tab\tstays", "tab\tstays"),
        ("evil\u202etxt.exe", "evil\\u202etxt.exe"),
        ("half \ud800 of it", "half  of it"),
        (b"bad \xff utf-8", "bad \ufffd utf-8"),
        ("key sk-ant-api03-AbC_d-123456 end", "key [redacted] end"),
        ("remote https://ghp_0123456789abcdefABCD@github.com", "remote https://[redacted]@github.com"),
        ("Authorization: Bearer abc.def-ghi_jkl=", "Authorization: Bearer [redacted]"),
        ("sk-\x1b[0mant-api03-AbCd123456", "[redacted]"),
    ],
)
def test_scrubbing_makes_text_fit_to_be_shown(raw: str | bytes, clean: str) -> None:
    assert scrub(raw) == clean


def test_a_token_is_not_saved_by_the_cut() -> None:
    token = "sk-ant-" + "A" * 40
    assert "AAAA" not in scrub("x" * 100 + token, limit=30)


def test_a_size_is_shown_with_its_unit() -> None:
    assert [size(each) for each in (0, 1023, 1536, 3 * 2**20, 5 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "3.0 MiB",
        "5.0 TiB",
    ]
