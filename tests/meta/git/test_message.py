"""Messages of tags and commits: free text cannot counterfeit a trailer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.git.message import TEXT_LIMIT, VALUE_LIMIT, decode, encode, one_line, scrub

hostile = st.one_of(
    st.text(),
    st.text(st.sampled_from("\n \tHive-Id: 7\r\x1b[0m\x00\x85\u2028é")),
    st.lists(st.sampled_from(["", "Hive-Id: 7", "    Hive-Id: 8", "text", " ", "A: b"])).map("\n".join),
)
keys = st.sampled_from(["Hive-Id", "Hive-By", "Hive-Source", "Hive-Meta"])


@given(hostile, hostile, st.dictionaries(keys, hostile))
def test_every_part_comes_back_exactly_as_scrubbed(subject: str, text: str, trailers: dict[str, str]) -> None:
    read = decode(encode(subject, text, trailers))
    assert read.subject == one_line(subject, 200)
    assert read.text == scrub(text)
    assert read.trailers == {key: one_line(value) for key, value in trailers.items()}


@given(hostile, hostile)
def test_no_text_or_subject_makes_a_trailer(subject: str, text: str) -> None:
    assert decode(encode(subject, text)).trailers == {}
    assert decode(encode(subject, text, {"Hive-By": "operator"})).trailers == {"Hive-By": "operator"}


@given(st.text())
def test_any_message_of_anybody_decodes(message: str) -> None:
    decode(message)


def test_a_message_reads_well() -> None:
    text = encode("failed 7", "it does not build\n\nHive-Id: 8", {"Hive-Id": "7", "Hive-By": "hive"})
    assert text == "failed 7\n\n    it does not build\n    \n    Hive-Id: 8\n\nHive-Id: 7\nHive-By: hive\n"


def test_what_a_person_wrote_is_text() -> None:
    read = decode("looks good\n\nI tried it: fine\nbye\n")
    assert (read.subject, read.text, read.trailers) == ("looks good", "I tried it: fine\nbye", {})


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
    assert one_line("begin" + "x" * VALUE_LIMIT).startswith("begin")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("10%\r20%\r\ndone", "10%\n20%\ndone"),
        ("a\x00b\x07c\x7fd", "abcd"),
        ("tab\tstays", "tab\tstays"),
        ("evil\u202etxt.exe", "evil\\u202etxt.exe"),
        ("two\u2028lines\u200b", "two\\u2028lines\\u200b"),
        ("tag\U000e0041", "tag\\U000e0041"),
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
