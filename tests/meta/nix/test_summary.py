"""The comparison that a card shows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from meta.errors import BuildFailed
from meta.nix import Summary, compare
from meta.nix.summary import MAX_LINES, WORDS, parse


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


WHOLE = {"boot": "1", "script": "1", "etc": "1", "packages": "1", "rest": "1", "genuine": "yes", "system": "1"}


@pytest.mark.parametrize("part", ["boot", "script", "etc", "packages", "rest"])
def test_a_part_of_the_system_that_changed_is_told_also_beside_another_change(part: str) -> None:
    old = Summary(whole=WHOLE)
    new = replace(old, whole={**WHOLE, part: "2", "system": "2"}, ports={"tcp/80": ""})
    lines = compare(old, new)
    assert len(lines) == 2
    assert lines[1].startswith("~ ")
    assert compare(None, new) == ("+ open port tcp/80",), "everything is new"


@pytest.mark.parametrize(
    ("part", "harmless", "line"),
    [
        ("etc", {"files": {"/etc/decoy": "1"}}, "~ the files in /etc as a whole: the lines above may not be all"),
        ("packages", {"packages": {"hello": "1"}}, "~ the packages as a whole: the lines above may not be all"),
        (
            "script",
            {"activation": {"decoy": "1"}},
            "~ the activation of the system as a whole: the lines above may not be all",
        ),
    ],
)
def test_a_harmless_change_explains_no_change_of_the_whole(part: str, harmless: dict[str, Any], line: str) -> None:
    old = Summary(whole=WHOLE)
    assert compare(old, replace(old, whole={**WHOLE, part: "2", "system": "2"}, **harmless))[1:] == (line,)


def test_a_derivation_that_is_not_made_of_what_is_summarised_is_told_first() -> None:
    forged = Summary(whole={**WHOLE, "genuine": "no"}, packages={"hello": "1"})
    line = "~ the system is not the one that NixOS makes: read the patch"
    assert compare(Summary(whole=WHOLE), forged)[0] == line
    assert compare(None, forged)[0] == line
    assert compare(forged, forged) == (line,)


def test_another_derivation_beside_a_harmless_change_is_told() -> None:
    old = Summary(whole=WHOLE)
    new = replace(old, whole={**WHOLE, "system": "2"}, packages={"hello": "1"})
    assert compare(old, new)[1:] == ("~ something else in the system changed: read the patch",)


@pytest.mark.parametrize("part", ["ports", "keys", "users", "files", "accounts", "setuid", "nix"])
def test_what_cannot_be_evaluated_is_told_whatever_it_was_before(part: str) -> None:
    fails, well = (parse(json.dumps({part: {"x": value}}).encode()) for value in ("fails", "1"))
    for old in (fails, well, Summary(), None):
        (line,) = compare(old, fails)
        assert line.endswith(" x: cannot be evaluated, read the patch")


def test_a_whole_that_cannot_be_evaluated_is_told() -> None:
    fails = Summary(whole={**WHOLE, "etc": "fails"})
    assert compare(fails, fails) == ("~ the files in /etc, in a way that no other line shows: read the patch",)


def test_a_system_that_differs_in_nothing_that_is_known_is_told() -> None:
    old = Summary(whole={"system": "1"})
    assert compare(old, Summary(whole={"system": "2"})) == ("~ something else in the system changed: read the patch",)
    assert compare(old, old) == ()
    assert old.is_same(old)
    assert not Summary().is_same(Summary())


def test_a_flood_of_one_part_hides_no_other_part() -> None:
    old = Summary(whole=WHOLE)
    new = Summary(
        ports={f"tcp/{number}": "" for number in range(300)},
        keys={"of root: ssh-ed25519 EVIL": ""},
        passwords={"root": "x"},
        units={"evil.service": "x"},
        packages={f"p{number}": "1" for number in range(300)},
        whole={**WHOLE, "rest": "2", "genuine": "no"},
    )
    lines = compare(old, new)
    assert len(lines) <= MAX_LINES
    assert lines[0] == "~ the system is not the one that NixOS makes: read the patch"
    assert {"+ ssh key of root: ssh-ed25519 EVIL", "+ password of user root", "+ unit evil.service"} < set(lines)
    assert [line for line in lines if line.startswith("and ")] == ["and 204 more open ports", "and 204 more packages"]
    assert lines[-1] == "~ something else in the system changed: read the patch"


def test_a_flood_of_every_part_keeps_lines_of_each() -> None:
    many = {f"n{number}": "1" for number in range(300)}
    parts: dict[str, Any] = {part: many for part in WORDS if part not in {"wrappers", "mounts", "accounts"}}
    flood = Summary(**parts)
    lines = compare(None, flood)
    assert len(lines) <= MAX_LINES
    assert len([line for line in lines if line.startswith("and ")]) == len(WORDS) - 3


def test_a_first_system_is_all_new() -> None:
    assert compare(None, Summary(binds={"/srv on /data": ""})) == ("+ bind /srv on /data",)


def test_a_long_comparison_keeps_the_most_important_lines() -> None:
    lines = compare(None, Summary(packages={f"p{n:04}": "1" for n in range(500)}, setuid={"sudo": ""}))
    assert len(lines) == MAX_LINES
    assert lines[0] == "+ setuid program sudo"
    assert lines[-1] == "and 302 more packages"


def test_a_summary_is_read_and_several_versions_of_a_package_are_told() -> None:
    packages = [{"name": "git", "version": "2"}, {"name": "git", "version": "1"}, {"name": "x", "version": "", "y": 1}]
    found = parse(json.dumps({"packages": packages, "ports": {"tcp/1": ""}, "later": 3}).encode())
    assert found.packages == {"git": "1, 2", "x": ""}
    assert found.ports == {"tcp/1": ""}
    assert found.users == {}


def test_an_agents_own_words_cannot_break_out_of_their_line() -> None:
    data = json.dumps({"setuid": {"a\n+ nothing else\u202e\x1b[31m": ""}, "users": {"u\n": "v" * 1000}}).encode()
    lines = compare(None, parse(data))
    assert lines[0].startswith("+ setuid program a + nothing else\\u202e ")
    assert all("\n" not in line and len(line) < 300 for line in lines)


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("units", {"u" * 200 + "a": "1"}, {"u" * 200 + "b": "1"}),
        ("users", {"u": "uid 1 " + "x" * 200}, {"u": "uid 1 " + "x" * 200 + " wheel"}),
        ("keys", {"k" * 200 + "a": ""}, {"k" * 200 + "a": "", "k" * 200 + "b": ""}),
        ("ports", {"a\x01": ""}, {"a\x02": ""}),
    ],
)
def test_a_difference_beyond_what_fits_a_line_is_still_told(part: str, one: object, other: object) -> None:
    old, new = (parse(json.dumps({part: value}).encode()) for value in (one, other))
    lines = compare(old, new)
    assert lines
    assert all(len(line) < 300 for line in lines)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"ports": {"80": 1}}', b'{"units": {"a": 1}}', b'{"packages": ["git"]}']
)
def test_a_summary_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(BuildFailed, match="summary"):
        parse(data)
