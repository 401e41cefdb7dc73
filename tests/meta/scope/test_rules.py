"""Rules and scopes beside a naive model: every path of a small tree is asked one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta.errors import BadInput
from meta.scope.rules import READ, WRITE, NotSubset, Rule, Scope, common_write, overlaps

TREE = ["/"]
for _ in range(4):
    TREE += [f"{'' if path == '/' else path}/{name}" for path in TREE for name in "abc"]
TREE = sorted(set(TREE), key=lambda path: (path.count("/"), path))
TARGETS = [path for path in TREE if path.count("/") <= 2 and "c" not in path]
"""Two levels less than the tree, and none of them `c`: that stands for the names that no rule has."""
LEVELS = {None: 0, READ: 1, WRITE: 2}

rules = st.builds(Rule, st.sampled_from(TARGETS), st.sampled_from([READ, WRITE]), st.booleans())
scopes = st.builds(Scope, st.lists(rules, min_size=1, max_size=4).map(tuple), st.lists(rules, max_size=3).map(tuple))
modest = settings(max_examples=60, deadline=None)


def parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def matches(rule: Rule, path: str) -> bool:
    target, here = parts(rule.target), parts(path)
    return here[: len(target)] == target and (rule.recursive or len(here) <= len(target) + 1)


def level(scope: Scope, path: str) -> int:
    allowed = [LEVELS[rule.permission] for rule in scope.allow if matches(rule, path)]
    caps = [LEVELS[rule.permission] - 1 for rule in scope.deny if matches(rule, path)]
    return min([max(allowed, default=0), *caps])


def area(rule: Rule) -> set[str]:
    return {path for path in TREE if matches(rule, path)}


class TestPermission:
    @modest
    @given(scopes)
    def test_it_is_that_of_a_model_that_asks_each_rule(self, scope: Scope) -> None:
        assert {path: LEVELS[scope.permission(path)] for path in TREE} == {path: level(scope, path) for path in TREE}

    @modest
    @given(scopes, st.randoms())
    def test_the_order_of_rules_and_their_number_do_not_matter(self, scope: Scope, random: object) -> None:
        shuffled = [list(scope.allow) * 2, list(scope.deny) * 2]
        for these in shuffled:
            random.shuffle(these)  # type: ignore[attr-defined]
        assert Scope(*map(tuple, shuffled)) == scope

    def test_a_deny_caps_strictly_below_its_level_and_the_lowest_counts(self) -> None:
        everything = Rule("/", WRITE)
        assert Scope((everything,), (Rule("/a", WRITE),)).permission("/a/x") is READ
        assert Scope((everything,), (Rule("/a", READ),)).permission("/a/x") is None
        both = Scope((everything, Rule("/a/b", WRITE)), (Rule("/a", WRITE), Rule("/a/b", READ)))
        assert [both.permission(path) for path in ("/a", "/a/b", "/a/b/c", "/b")] == [READ, None, None, WRITE]

    def test_a_rule_that_is_not_recursive_reaches_its_target_and_the_children_of_it(self) -> None:
        near = Scope((Rule("/w", WRITE, recursive=False),))
        assert [near.permission(path) for path in ("/", "/w", "/w/x", "/w/x/y", "/wx")] == [
            None, WRITE, WRITE, None, None,
        ]  # fmt: skip

    @pytest.mark.parametrize("path", ["", "a", "/a/", "/a//b", "//a", "/a/./b", "/a/../b", "/..", "/a\0b"])
    def test_a_path_in_another_form_is_refused_in_a_rule_and_in_a_question(self, path: str) -> None:
        with pytest.raises(BadInput, match="not a canonical path"):
            Rule(path, READ)
        with pytest.raises(BadInput, match="not a canonical path"):
            Scope((Rule("/", WRITE),)).permission(path)

    def test_a_scope_without_an_allow_rule_is_refused(self) -> None:
        with pytest.raises(BadInput, match="gives nothing"):
            Scope((), (Rule("/a", READ),))


class TestRelations:
    @modest
    @given(rules, rules)
    def test_two_rules_overlap_if_and_only_if_a_path_is_in_both(self, one: Rule, other: Rule) -> None:
        assert one.overlaps(other) == bool(area(one) & area(other)) == other.overlaps(one)

    @modest
    @given(rules, rules)
    def test_a_rule_contains_another_if_and_only_if_each_path_of_it_is_in_the_first(
        self, one: Rule, other: Rule
    ) -> None:
        assert one.contains(other) == (area(other) <= area(one))

    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            (("/a", True), ("/a/b", True), True),
            (("/a", True), ("/ab", True), False),
            (("/a", True), ("/a/b/c", False), True),
            (("/a/b", True), ("/a", False), True),
            (("/a/b/c", True), ("/a", False), False),
            (("/a", False), ("/a", False), True),
            (("/a", False), ("/a/b", False), True),
            (("/a/b", False), ("/a/c", False), False),
            (("/a", False), ("/a/b/c", False), False),
        ],
    )
    def test_the_table_of_overlaps(self, one: tuple[str, bool], other: tuple[str, bool], expected: bool) -> None:
        first, second = (Scope((Rule(target, WRITE, deep),)) for target, deep in (one, other))
        assert overlaps(first, second) == overlaps(second, first) == expected
        assert not overlaps(first, Scope((Rule("/", READ),)))

    @modest
    @given(scopes, scopes)
    def test_two_scopes_overlap_if_and_only_if_a_path_may_be_written_under_both(self, one: Scope, other: Scope) -> None:
        both = [path for path in TREE if level(one, path) == level(other, path) == 2]
        assert overlaps(one, other) == overlaps(other, one) == bool(both)

    def test_a_deny_keeps_two_scopes_apart_and_a_common_path_is_named(self) -> None:
        one, other = Scope((Rule("/a", WRITE),), (Rule("/a/b", WRITE),)), Scope((Rule("/a/b", WRITE),))
        assert common_write(one, other) is None
        assert common_write(Scope((Rule("/a", WRITE, recursive=False),)), Scope((Rule("/", WRITE),))) == "/a"
        deep = Scope((Rule("/a", WRITE),), (Rule("/a", WRITE, recursive=False),))
        assert common_write(deep, Scope((Rule("/a", WRITE),))) == "/a/*/*"


class TestDelegation:
    @modest
    @given(scopes, st.lists(rules, min_size=1, max_size=3), st.lists(rules, max_size=2))
    def test_what_is_taken_from_a_scope_never_gives_more(
        self, parent: Scope, allow: list[Rule], deny: list[Rule]
    ) -> None:
        try:
            child = parent.take(allow, deny)
        except NotSubset as error:
            assert error.rule in allow
            return
        assert [path for path in TREE if level(child, path) > level(parent, path)] == []
        assert set(child.allow) == set(allow)

    @modest
    @given(scopes, scopes)
    def test_a_scope_that_fits_never_gives_more(self, parent: Scope, child: Scope) -> None:
        try:
            parent.check_fits(child)
        except NotSubset:
            return
        assert [path for path in TREE if level(child, path) > level(parent, path)] == []

    @modest
    @given(scopes, rules)
    def test_a_covered_rule_is_all_there(self, scope: Scope, rule: Rule) -> None:
        if scope.covers(rule):
            assert all(level(scope, path) >= LEVELS[rule.permission] for path in area(rule))

    @pytest.mark.parametrize(
        ("rule", "fits"),
        [
            (Rule("/w", WRITE), True),
            (Rule("/w/sub", READ), True),
            (Rule("/w/sub", WRITE, recursive=False), True),
            (Rule("/near", WRITE, recursive=False), True),
            (Rule("/near", WRITE), False),  # only the same rule is within one that is not recursive
            (Rule("/near/x", WRITE, recursive=False), False),
            (Rule("/r", READ), True),
            (Rule("/r", WRITE), False),
            (Rule("/", READ, recursive=False), False),
            (Rule("/wide", READ), False),
        ],
    )
    def test_each_rule_is_within_one_rule_of_at_least_its_permission(self, rule: Rule, fits: bool) -> None:
        parent = Scope((Rule("/w", WRITE), Rule("/near", WRITE, recursive=False), Rule("/r", READ)))
        if fits:
            assert parent.take([rule]).allow == (rule,)
        else:
            with pytest.raises(NotSubset, match="no single rule"):
                parent.take([rule])

    def test_denies_are_inherited_or_the_scope_does_not_fit(self) -> None:
        parent = Scope((Rule("/w", WRITE),), (Rule("/w/a/keys", READ), Rule("/w/b", WRITE)))
        assert parent.take([Rule("/w/a", WRITE)]).deny == (Rule("/w/a/keys", READ),)
        with pytest.raises(NotSubset, match="denies read '/w/a/keys' in it"):
            parent.check_fits(Scope((Rule("/w/a", WRITE),)))
        with pytest.raises(NotSubset):
            parent.check_fits(Scope((Rule("/w/a", WRITE),), (Rule("/w/a/keys", WRITE),)))
        parent.check_fits(Scope((Rule("/w/a", WRITE),), (Rule("/w/a", READ),)))
        parent.check_fits(Scope((Rule("/w/b", READ),)))  # a deny of write takes nothing from reading

    def test_a_scope_without_what_is_lent_can_still_read_it(self) -> None:
        scope = Scope((Rule("/w", WRITE),)).without([Rule("/w/a", WRITE)])
        assert [scope.permission(path) for path in ("/w", "/w/a", "/w/a/x", "/w/b")] == [WRITE, READ, READ, WRITE]
