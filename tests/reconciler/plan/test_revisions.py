"""The revision that a build records: what is said of two, and whether two are the same."""

from __future__ import annotations

from reconciler.plan.revisions import agrees, difference, revision_of


def test_what_differs_is_named() -> None:
    assert difference("1", "2") == "built with hive 1, this is 2"
    assert difference(revision_of("1", "a"), revision_of("1", "b")) == "built with nixpkgs a, this is b"
    assert difference(revision_of("1", "a"), revision_of("2", "a")) == "built with hive 1, this is 2"
    both = difference(revision_of("1", "a"), revision_of("2", "b"))
    assert both == "built with hive 1 and nixpkgs a, this is hive 2 and nixpkgs b"
    assert difference("1", revision_of("2", "b")) == "built with hive 1, this is 2", "an older hive noted no nixpkgs"


def test_a_generation_agrees_unless_an_input_of_it_moved() -> None:
    now = revision_of("1", "a")
    assert agrees(now, "1", "a")
    assert agrees(now, "", "a")
    assert agrees(now, "", "")
    assert not agrees(now, "", "b")
    assert not agrees(now, "2", "a")


def test_other_modules_for_every_agent_count_also_if_there_were_or_are_none() -> None:
    now = revision_of("1", "a", "m")
    assert agrees(now, "1", "a", "m")
    assert not agrees(now, "1", "a", "")
    assert not agrees(revision_of("1", "a"), "1", "a", "m")
    assert difference(revision_of("1", "a", "l"), now) == "built with agentModules l, this is m"
    assert difference(revision_of("1", "a"), now) == "built with agentModules none, this is m"
    both = difference(revision_of("1", "b", "l"), now)
    assert both == "built with nixpkgs b and agentModules l, this is nixpkgs a and agentModules m"
