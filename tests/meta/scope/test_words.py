"""The words of a scope, as the greeting has them."""

from __future__ import annotations

from meta.scope.rules import READ, WRITE, Rule, Scope
from meta.scope.words import summary


def test_a_summary_names_what_is_allowed_and_no_deny() -> None:
    scope = Scope((Rule("/y", WRITE, recursive=False), Rule("/x", READ), Rule("/w", READ)), (Rule("/x/secret", READ),))
    assert summary(scope) == "Readable:\n - /w\n - /x\nWritable:\n - /y [non-recursive]"


def test_a_summary_without_readable_rules_is_that_of_the_seed() -> None:
    assert summary(Scope((Rule("/tmp", WRITE),))) == "Writable:\n - /tmp"


def test_a_name_cannot_add_a_line_to_the_summary() -> None:
    assert summary(Scope((Rule("/a\n - /etc\u202e", READ),))) == "Readable:\n - /a\\n - /etc\\u202e"
