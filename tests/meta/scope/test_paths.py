"""Canonical paths, on a real folder with real links."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from meta.errors import BadInput
from meta.scope.paths import PATH_LIMIT, RULES_LIMIT, canonical, canonical_scope, is_moved
from meta.scope.rules import READ, WRITE, NotSubset, Rule, Scope
from meta.wire.pod import ScopeRule

VECTOR = '{"target": "/w/x", "permission": "write"}'


def test_links_are_followed_and_a_missing_tail_is_joined(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert canonical(f"{tmp_path}/link/new/file") == f"{tmp_path}/real/new/file"
    assert canonical(f"{tmp_path}//./real/") == f"{tmp_path}/real"
    assert canonical(f"/{tmp_path}") == str(tmp_path)


def test_a_link_to_nothing_counts_as_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    assert canonical(f"{tmp_path}/link") == "/nowhere/at/all"


def test_a_relative_target_needs_a_folder_to_start_from(tmp_path: Path) -> None:
    assert canonical("src/./core", str(tmp_path)) == f"{tmp_path}/src/core"
    assert canonical(".", str(tmp_path)) == str(tmp_path)
    assert canonical("/etc/x", str(tmp_path)) == "/etc/x"
    with pytest.raises(BadInput, match="it is relative"):
        canonical("src")
    with pytest.raises(BadInput, match="it is relative"):
        canonical("src", "also/relative")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("", "empty"),
        ("/src/core/../../etc", r"'\.\.'"),
        ("..", r"'\.\.'"),
        ("/a\0b", "NUL"),
        ("/a\udcff", "not UTF-8"),
        ("/" + "é" * PATH_LIMIT, "bytes"),
        ("/" + "n" * 300, "too long"),
    ],
)
def test_what_cannot_be_a_target_is_refused_with_a_reason(target: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        canonical(target, str(tmp_path))
    assert caught.value.hint


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BadInput, match="symbolic links"):
        canonical(f"{tmp_path}/a/x")


def test_a_name_with_odd_characters_is_a_name(tmp_path: Path) -> None:
    odd = tmp_path / "a b\n-\u202e\t*;$(x)"
    odd.mkdir()
    assert canonical(str(odd)) == str(odd)


def test_a_link_that_leads_to_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    (tmp_path / "link").symlink_to(os.fsdecode(b"\xff"))
    with pytest.raises(BadInput, match="not UTF-8"):
        canonical(f"{tmp_path}/link")


def test_a_target_that_was_swapped_for_a_link_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    target = canonical(str(folder))
    assert not is_moved(target)
    folder.rmdir()
    assert not is_moved(target)
    folder.symlink_to("/etc")
    assert is_moved(target)
    folder.unlink()
    folder.symlink_to(folder)
    assert is_moved(target)


def test_a_delegation_by_a_link_or_by_dots_does_not_leave_the_scope(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "out").symlink_to("/etc")
    parent = canonical_scope([ScopeRule(target=str(tmp_path / "core"), permission=WRITE)])
    by_link = canonical_scope([ScopeRule(target=f"{tmp_path}/core/out", permission=WRITE)])
    with pytest.raises(NotSubset):
        parent.take(by_link.allow)
    with pytest.raises(BadInput):
        canonical_scope([ScopeRule(target=f"{tmp_path}/core/../../etc", permission=WRITE)])


def test_rules_of_the_wire_become_a_scope_and_go_back() -> None:
    rule = ScopeRule.model_validate(json.loads(VECTOR))
    scope = canonical_scope([rule], [ScopeRule(target="sub", permission=READ, recursive=False)], base="/w/x")
    assert scope == Scope((Rule("/w/x", WRITE),), (Rule("/w/x/sub", READ, recursive=False),))
    assert [each.wire() for each in scope.allow] == [rule]


def test_an_empty_or_an_endless_list_of_rules_is_refused() -> None:
    with pytest.raises(BadInput, match="gives nothing"):
        canonical_scope([])
    with pytest.raises(BadInput, match="too many"):
        canonical_scope([ScopeRule(target="/w", permission=READ)] * (RULES_LIMIT + 1))
