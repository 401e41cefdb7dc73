"""Messages of tags and commits: free text cannot counterfeit a trailer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meta.git.message import decode, encode
from meta.text import one_line, scrub

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
