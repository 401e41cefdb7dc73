"""Sources of proposals: their text in a tag, and what they replace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.applied.source import Source, SourceKind
from meta.text import one_line

places = st.one_of(st.from_regex(r"[^#/][^#]*", fullmatch=True), st.just(""))
texts = st.one_of(
    st.text(),
    st.from_regex(r"(proposed/push\.git|proposed/config|edit)#.*"),
    st.from_regex(r"(deployed|failed|denied)/[0-9]{1,9}", fullmatch=True),
    st.text().map(lambda rest: f"/{rest}"),
)


@given(texts)
def test_any_text_of_a_tag_is_kept_exactly(text: str) -> None:
    assert str(Source.parse(text)) == text


@given(texts)
def test_the_text_that_a_tag_keeps_names_one_source(text: str) -> None:
    kept = one_line(text)
    assert str(Source.parse(kept)) == kept == one_line(kept)


@given(places, st.none() | st.text())
def test_a_source_is_parsed_from_its_own_text(place: str, part: str | None) -> None:
    source = Source(place, part)
    assert Source.parse(str(source)) == source


@pytest.mark.parametrize(("place", "part"), [("a#b", None), ("a#b", "c"), ("/a", "b")])
def test_a_source_whose_text_would_name_another_is_rejected(place: str, part: str | None) -> None:
    with pytest.raises(ValueError, match="part"):
        Source(place, part)


@pytest.mark.parametrize(
    ("text", "branch"),
    [
        ("proposed/push.git#main", "main"),
        ("proposed/push.git#fix#7", "fix#7"),
        ("proposed/config#propose/topic", "propose/topic"),
        ("proposed/config", None),
        ("edit#agent.toml", None),
        ("elsewhere#main", None),
        ("/clones/a#main", None),
    ],
)
def test_a_branch_is_one_of_the_push_repo_or_of_the_work_tree(text: str, branch: str | None) -> None:
    assert Source.parse(text).branch == branch


@pytest.mark.parametrize("text", ["proposed/push.git#main", "proposed/config#propose/x", "edit#agent.toml"])
def test_a_source_with_a_part_replaces_an_older_proposal_from_the_same_part(text: str) -> None:
    source = Source.parse(text)
    assert source.exclusive
    assert source.replaces(Source.parse(text))
    assert not source.replaces(Source(source.place, "another"))
    assert not source.replaces(Source(source.place))


@pytest.mark.parametrize("text", ["proposed/config", "seed", "spawn", "deployed/7", "/clones/a", "/clones/a#1", ""])
def test_a_source_without_a_part_replaces_nothing(text: str) -> None:
    source = Source.parse(text)
    assert not source.exclusive
    assert not source.replaces(source)


@pytest.mark.parametrize("text", ["", "main", "deployed/", "deployed/x", "proposal/7", "deployed/7#a", "proposed/push"])
def test_text_that_hive_does_not_write_is_of_unknown_kind(text: str) -> None:
    assert Source.parse(text).kind is SourceKind.UNKNOWN
