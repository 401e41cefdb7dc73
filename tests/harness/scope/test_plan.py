"""What Landlock is told to hold of a scope is at most what the scope gives, and for files that are there the same."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scope.plan import MOST, Needs, plan
from meta.errors import Refused
from meta.process import landlock
from meta.process.landlock import Grant, Grants
from meta.scope.rules import READ, WRITE, Rule, Scope

NAMES = ("a", "b", "c")
FOLDERS = {"/", "/a", "/a/a", "/a/b", "/a/b/c", "/b", "/b/a", "/c"}
FILES = {"/b/b", "/a/c", "/a/a/a", "/a/b/a", "/a/b/c/c", "/c/a", "/c/b"}
ORDER = (landlock.READ, landlock.CHANGE, landlock.FILES, landlock.WRITE)


class Disk:
    """Folders and files, as a planner sees them."""

    def __init__(self, folders: Iterable[str], files: Iterable[str]) -> None:
        self.folders, self.files = set(folders), set(files)

    def __call__(self, folder: str) -> list[tuple[str, bool]] | None:
        if folder not in self.folders:
            return None
        there = self.folders | self.files
        return [(posixpath.basename(path), path in self.folders) for path in there if parent(path) == folder != path]

    def grants_above(self, grants: Grants, path: str) -> set[str]:
        """Return the rights that Landlock sees on the way from a path to the root."""
        found = set()
        for grant in grants:
            is_folder = grant.path in self.folders
            is_there = (is_folder and not grant.file) or grant.path in self.files
            if is_there and (grant.path == path or (is_beneath(path, grant.path) and is_folder)):
                found.add(grant.right)
        return found


def parent(path: str) -> str:
    return posixpath.dirname(path)


def is_beneath(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder if folder == "/" else f"{folder}/")


def at_least(rights: Iterable[str], right: str) -> bool:
    return any(ORDER.index(one) >= ORDER.index(right) for one in rights)


paths = st.lists(st.sampled_from(NAMES), max_size=4).map(lambda names: "/" + "/".join(names))
rules = st.builds(Rule, paths, st.sampled_from([READ, WRITE]), st.booleans())
scopes = st.builds(
    lambda allow, deny: Scope(tuple(allow), tuple(deny)),
    st.lists(rules, min_size=1, max_size=3),
    st.lists(rules, max_size=3),
)


@given(scopes, st.lists(rules, max_size=2))
def test_no_grant_gives_more_than_the_scope_and_files_get_all_of_it(scope: Scope, delegated: Sequence[Rule]) -> None:
    disk = Disk(FOLDERS, FILES)
    grants = plan(scope, Needs(), disk, delegated)
    effective = scope.without(delegated)
    for path in sorted(FOLDERS | FILES | {posixpath.join(folder, "new") for folder in FOLDERS}):
        own, above = disk.grants_above(grants, path), disk.grants_above(grants, parent(path))
        permission = effective.permission(path)
        if own:
            assert permission is not None, path
        entry = landlock.WRITE if path in FOLDERS else landlock.FILES
        if path != "/" and at_least(above, entry):  # it can be made, removed and moved away
            assert permission is WRITE, path
        if path in FILES:
            assert bool(own) == (permission is not None), path
            assert at_least(own, landlock.CHANGE) == (permission is WRITE), path


@given(scopes)
def test_a_folder_that_may_appear_later_is_no_hole(scope: Scope) -> None:
    """What a CLI may make, it may write by the scope, as deep as that goes."""
    disk = Disk(FOLDERS, FILES)
    grants = plan(scope, Needs(), disk)
    for folder in FOLDERS:
        if at_least(disk.grants_above(grants, folder), landlock.WRITE):
            for deeper in ("new", "new/a", "new/a/a", "a", "b/a", "c/b/a"):
                assert scope.permission(posixpath.join(folder, deeper)) is WRITE


def test_a_folder_with_a_denied_entry_is_granted_one_by_one_and_takes_no_new_ones() -> None:
    disk = Disk(["/", "/w", "/w/open", "/w/closed"], ["/w/file"])
    scope = Scope((Rule("/w", WRITE),), (Rule("/w/closed", WRITE),))
    assert plan(scope, Needs(), disk) == (
        Grant("/w", landlock.READ, optional=True),
        Grant("/w/file", landlock.WRITE, optional=True, file=True),
        Grant("/w/open", landlock.WRITE, optional=True),
    )


def test_what_a_sub_agent_has_is_lent_with_what_is_above_it_and_can_still_be_read() -> None:
    disk = Disk(["/", "/w", "/w/a", "/w/b", "/w/b/c"], [])
    scope = Scope((Rule("/w", WRITE),))
    assert plan(scope, Needs(), disk, [Rule("/w/b", WRITE)]) == (
        Grant("/w", landlock.READ, optional=True),
        Grant("/w/a", landlock.WRITE, optional=True),
    )
    assert plan(scope, Needs(), disk, [Rule("/w", WRITE)]) == (Grant("/w", landlock.READ, optional=True),)


def test_a_rule_for_one_folder_alone_takes_new_files_as_long_as_there_is_no_folder_in_it() -> None:
    scope = Scope((Rule("/w", WRITE, recursive=False),))
    assert plan(scope, Needs(), Disk(["/", "/w"], ["/w/f"])) == (Grant("/w", landlock.FILES, optional=True),)
    assert plan(scope, Needs(), Disk(["/", "/w", "/w/d"], ["/w/f"])) == (
        Grant("/w/f", landlock.WRITE, optional=True, file=True),
    )


def test_what_a_cli_needs_is_granted_beside_its_scope_and_lent_to_nobody() -> None:
    scope = Scope((Rule("/", READ),))
    grants = plan(scope, Needs(("/usr",), ("/home",)), Disk(["/", "/home", "/usr"], []), [Rule("/", WRITE)])
    assert grants == (Grant("/", landlock.READ, optional=True), Grant("/home", landlock.WRITE, optional=True))


@pytest.mark.parametrize(
    ("deny", "words"),
    [
        (Rule("/home", WRITE), "the scope denies /home, and the CLI has to write there"),
        (Rule("/", READ), "has to read there"),
        (Rule("/proc/kcore", READ), "comes and goes by itself"),
        (Rule("/" + "/".join("x" * 70), READ), "too deep"),
    ],
)
def test_a_deny_that_nothing_can_hold_is_refused_with_the_reason(deny: Rule, words: str) -> None:
    scope = Scope((Rule("/", WRITE),), (deny,))
    with pytest.raises(Refused, match=words):
        plan(scope, Needs(("/usr",), ("/home",)), Disk(["/", "/usr", "/home"], []))


def test_a_folder_with_too_many_entries_beside_a_denied_one_is_refused_and_not_listed_to_its_end() -> None:
    seen = 0

    def endless(folder: str) -> Iterable[tuple[str, bool]] | None:
        nonlocal seen
        while True:
            seen += 1
            yield f"file-{seen}", False

    scope = Scope((Rule("/w", WRITE),), (Rule("/w/secret", READ),))
    with pytest.raises(Refused, match="too much beside what it denies"):
        plan(scope, Needs(), endless)
    assert seen <= MOST + 1
