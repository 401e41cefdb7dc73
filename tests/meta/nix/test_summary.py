"""The comparison that a card shows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from meta.errors import BuildFailed
from meta.nix import Summary, compare
from meta.nix.summary import MAX_LINES, parse


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


def test_what_has_a_line_already_needs_no_second_one() -> None:
    new = Summary(
        setuid={"sudo": ""},
        capabilities={"cap_net_raw of program ping": ""},
        wrappers={"sudo": "1", "ping": "1", "mount": "1"},
        users={"u": "uid 1"},
        accounts={"u": "1"},
        binds={"/a on /b": ""},
        mounts={"/a on /b": "1"},
    )
    assert compare(Summary(), new) == (
        "+ setuid program sudo",
        "+ capability cap_net_raw of program ping",
        "+ program wrapper mount",
        "+ bind /a on /b",
        "+ user u (uid 1)",
    )
    assert compare(new, replace(new, accounts={"u": "2"}, wrappers={**new.wrappers, "sudo": "2"})) == (
        "~ program wrapper sudo",
        "~ account of user u",
    )


def test_packages_of_the_same_version_that_are_built_differently_are_one_line() -> None:
    names = [f"p{number:02}" for number in range(12)]
    old = Summary(packages=dict.fromkeys(names, "1"), builds=dict.fromkeys(names, "x"))
    (line,) = compare(old, replace(old, builds=dict.fromkeys(names, "y")))
    assert line.startswith("~ built differently, in the same version: p00, p01")
    assert line.endswith("p07 and 4 more")


@pytest.mark.parametrize("part", ["boot", "script", "etc", "packages", "rest"])
def test_a_part_of_the_system_that_changed_unseen_is_told_also_beside_another_change(part: str) -> None:
    old = Summary(whole={"boot": "1", "script": "1", "etc": "1", "packages": "1", "rest": "1", "system": "1"})
    new = replace(old, whole={**old.whole, part: "2", "system": "2"}, ports={"tcp/80": ""})
    lines = compare(old, new)
    assert len(lines) == 2
    assert lines[1].startswith("~ ")
    assert compare(None, new) == ("+ open port tcp/80",), "everything is new"


def test_a_system_that_differs_in_nothing_that_is_known_is_told() -> None:
    old = Summary(whole={"system": "1"})
    assert compare(old, Summary(whole={"system": "2"})) == ("~ something else in the system changed: read the patch",)
    assert compare(old, old) == ()
    assert old.is_same(old)
    assert not Summary().is_same(Summary())


def test_a_cut_comparison_keeps_the_line_that_something_is_unseen() -> None:
    old = Summary(whole={"rest": "1"})
    lines = compare(old, Summary(packages={f"p{n:04}": "1" for n in range(500)}, whole={"rest": "2"}))
    assert len(lines) == MAX_LINES
    assert lines[-1] == "~ something else in the system changed: read the patch"
    assert lines[-2] == "and 302 more"


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
    assert lines[0].startswith("+ setuid program a + nothing else\\u202e ")
    assert all("\n" not in line and len(line) < 300 for line in lines)


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("units", {"u" * 200 + "a": "1"}, {"u" * 200 + "b": "1"}),
        ("users", {"u": "uid 1 " + "x" * 200}, {"u": "uid 1 " + "x" * 200 + " wheel"}),
        ("keys", ["k" * 200 + "a"], ["k" * 200 + "a", "k" * 200 + "b"]),
        ("ports", ["a\x01"], ["a\x02"]),
    ],
)
def test_a_difference_beyond_what_fits_a_line_is_still_told(part: str, one: object, other: object) -> None:
    old, new = (parse(json.dumps({part: value}).encode()) for value in (one, other))
    lines = compare(old, new)
    assert lines
    assert all(len(line) < 300 for line in lines)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"ports": [80]}', b'{"units": {"a": 1}}', b'{"packages": ["git"]}'])
def test_a_summary_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(BuildFailed, match="summary"):
        parse(data)
