"""The comparison that a card shows, and what an approval is bound to."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.approval import Shown, from_trailers, objection
from meta.errors import BuildFailed
from meta.names import Sha
from meta.nix import Summary, compare
from meta.nix.summary import MAX_LINES, parse

ONE, TWO = Sha("1" * 40), Sha("2" * 40)
SHOWN = Shown(ONE, "a" * 40, "b" * 40, "/nix/store/x.drv", "f" * 20)


def test_changes_are_told_with_what_gives_rights_first() -> None:
    old = Summary(
        packages={"git": "2.39", "vim": "9"}, units={"a.service": "1", "b.service": "1"}, users={"u": "uid 1"}
    )
    new = Summary(
        packages={"git": "2.45", "jq": "1.7"},
        units={"a.service": "2", "c.timer": "1"},
        users={"u": "uid 1 wheel"},
        ports={"tcp/80": ""},
        setuid={"sudo": ""},
    )
    assert compare(old, new) == (
        "+ setuid program sudo",
        "+ open port tcp/80",
        "~ user u: uid 1 -> uid 1 wheel",
        "+ unit c.timer",
        "~ unit a.service",
        "- unit b.service",
        "+ package jq 1.7",
        "~ package git: 2.39 -> 2.45",
        "- package vim",
    )
    assert compare(new, new) == ()


def test_a_first_system_is_all_new() -> None:
    assert compare(None, Summary(binds={"/srv on /data": ""})) == ("+ bind /srv on /data",)


def test_a_long_comparison_keeps_the_most_important_lines() -> None:
    lines = compare(None, Summary(packages={f"p{n:04}": "1" for n in range(500)}, setuid={"sudo": ""}))
    assert len(lines) == MAX_LINES
    assert lines[0] == "+ setuid program sudo"
    assert lines[-1] == "and 302 more"


def test_a_summary_is_read_and_several_versions_of_a_package_are_told() -> None:
    packages = [{"name": "git", "version": "2"}, {"name": "git", "version": "1"}, {"name": "x", "version": "", "y": 1}]
    found = parse(json.dumps({"packages": packages, "ports": ["tcp/1"], "later": 3}).encode())
    assert found.packages == {"git": "1, 2", "x": ""}
    assert found.ports == {"tcp/1": ""}
    assert found.users == {}


def test_an_agents_own_words_cannot_break_out_of_their_line() -> None:
    data = json.dumps({"setuid": ["a\n+ nothing else\u202e\x1b[31m"], "users": {"u\n": "v" * 1000}}).encode()
    lines = compare(None, parse(data))
    assert lines[0] == "+ setuid program a + nothing else"
    assert all("\n" not in line and len(line) < 300 for line in lines)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"ports": [80]}', b'{"units": {"a": 1}}', b'{"packages": ["git"]}'])
def test_a_summary_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(BuildFailed, match="summary"):
        parse(data)


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
def test_anything_else_has_changed_since_it_was_shown(now: Shown, why: str) -> None:
    assert objection(SHOWN, now) == f"changed since it was shown: {why}"


WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]))
GIVEN = WORD.filter(bool)
"""A commit and settings there always are."""


@given(st.builds(Shown, GIVEN, WORD, WORD, WORD, GIVEN))
def test_what_was_shown_survives_as_trailers(shown: Shown) -> None:
    assert from_trailers(shown.trailers()) == shown
    written = {key: value for key, value in shown.trailers().items() if value}
    assert from_trailers(written) == shown, "a tag has no empty trailers"
    for name in ("Hive-Shown-Commit", "Hive-Shown-Settings"):
        assert from_trailers({key: value for key, value in written.items() if key != name}) is None


@pytest.mark.parametrize("part", [part.name for part in fields(Shown)])
def test_every_part_is_in_the_fingerprint(part: str) -> None:
    values = {each.name: getattr(SHOWN, each.name) for each in fields(Shown)}
    assert Shown(**{**values, part: "other"}).fingerprint() != SHOWN.fingerprint()
    assert len(SHOWN.fingerprint()) == 20
