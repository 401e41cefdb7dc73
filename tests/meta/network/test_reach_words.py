"""What an agent may newly reach, in words: only what is new, groups expanded, and what is special about a host."""

from __future__ import annotations

import pytest

from meta.network.operator_file import OperatorFile, parse_operator_file
from meta.network.reach import ReachSettings
from meta.network.reach_words import ReachWords, newly_reachable, rule_words
from meta.network.rule import parse_rule

OF_FILE = "private by the operator's network.toml"
NOT_NAMED = "a private address that the operator's network.toml does not name, so it is refused"
FILE = parse_operator_file(
    b"""private = ["registry.corp:443", "192.168.1.5:8080"]
[groups]
python = ["pypi.org", "files.pythonhosted.org:443"]
[credentials.anthropic]
file = "/k"
agents = ["alice"]
"""
)


def script(*entries: str) -> ReachSettings:
    return ReachSettings("bob", "script", entries)


def new(before: ReachSettings | None, after: ReachSettings, file: OperatorFile = FILE) -> tuple[str, ...]:
    return newly_reachable(before, after, file).new


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("crates.io", "crates.io (ports 80 and 443)"),
        ("git.example.org:22", "git.example.org (port 22)"),
        ("a.example:*", "a.example (every port)"),
        ("*.github.com", "every host below github.com (ports 80 and 443)"),
        ("*", f"every host on the internet (ports 80 and 443; {OF_FILE}: registry.corp:443)"),
        ("*:22", "every host on the internet (port 22)"),
        ("*:*", f"every host on the internet (every port; {OF_FILE}: registry.corp:443)"),
        ("registry.corp", f"registry.corp (ports 80 and 443; {OF_FILE}: registry.corp:443)"),
        ("registry.corp:80", "registry.corp (port 80)"),
        ("192.168.1.5:8080", f"192.168.1.5 (port 8080; {OF_FILE}: 192.168.1.5:8080)"),
        ("192.168.1.6:8080", f"192.168.1.6 (port 8080; {NOT_NAMED})"),
        ("9.9.9.9", "9.9.9.9 (ports 80 and 443)"),
        ("xn--e1afmkfd.example", 'xn--e1afmkfd.example (ports 80 and 443; in Unicode "пример.example")'),
        ("*.xn--e1afmkfd", 'every host below xn--e1afmkfd (ports 80 and 443; in Unicode "*.пример")'),
        ("xn--a-0.example", "xn--a-0.example (ports 80 and 443; in Unicode not valid)"),
    ],
)  # fmt: skip
def test_a_rule_in_words(rule: str, words: str) -> None:
    assert rule_words(parse_rule(rule), FILE) == words


def test_a_name_cannot_turn_the_line_or_hide_in_it() -> None:
    for char, escape in (("\u202e", "\\u202e"), ("\u200b", "\\u200b"), ("\ufeff", "\\ufeff")):
        label = f"a{char}b".encode("punycode").decode("ascii")
        assert escape in rule_words(parse_rule(f"xn--{label}.example"), FILE)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([], ["crates.io"], ["crates.io (ports 80 and 443)"]),
        (["*.a.example"], ["*.a.example", "x.a.example"], []),
        (["x.a.example"], ["*.a.example"], ["every host below a.example (ports 80 and 443)"]),
        (["a.example"], ["a.example:443"], []),
        (["a.example:443"], ["a.example"], ["a.example (ports 80 and 443)"]),
        (["a.example:443", "a.example:80"], ["a.example"], []),
        (["*"], ["a.example", "192.0.2.1"], [f"192.0.2.1 (ports 80 and 443; {NOT_NAMED})"]),
        ([], ["@python"], ["@python: pypi.org (ports 80 and 443), files.pythonhosted.org (port 443)"]),
        (["pypi.org"], ["@python"], ["@python: files.pythonhosted.org (port 443)"]),
        ([], ["pypi.org", "@python"], ["pypi.org (ports 80 and 443)", "@python: files.pythonhosted.org (port 443)"]),
    ],
)  # fmt: skip
def test_only_what_is_new_is_said(before: list[str], after: list[str], words: list[str]) -> None:
    assert list(new(script(*before), script(*after))) == words


def test_what_it_may_no_longer_reach_is_said_too() -> None:
    words = newly_reachable(script("a.example", "b.example"), script("b.example"), FILE)
    assert words == ReachWords(gone=("a.example (ports 80 and 443)",))


def test_no_change_has_no_words() -> None:
    reach = ReachSettings("bob", "claude", ("a.example", "@python"))
    assert newly_reachable(reach, reach, FILE) == ReachWords()


def test_another_runtime_brings_its_hosts_and_takes_those_of_the_one_before() -> None:
    words = newly_reachable(ReachSettings("bob", "gemini"), ReachSettings("bob", "codex"), FILE)
    assert words.new == (
        "runtime codex: api.openai.com (port 443), auth.openai.com (port 443), chatgpt.com (port 443)",
    )
    assert words.gone[0].startswith("runtime gemini: generativelanguage.googleapis.com (port 443), oauth2")


def test_defaults_turned_off_take_the_hosts_of_the_runtime() -> None:
    words = newly_reachable(ReachSettings("bob", "claude"), ReachSettings("bob", "claude", (), defaults=False), FILE)
    assert not words.new and words.gone[0].startswith("runtime claude: api.anthropic.com")


def test_a_key_outside_brings_no_host_and_is_named() -> None:
    words = newly_reachable(ReachSettings("alice", "script"), ReachSettings("alice", "claude"), FILE)
    assert not words.new
    assert words.notes == (
        'runtime claude reaches its model with the operator\'s key "anthropic", which stays outside',
    )


def test_a_key_of_another_agent_changes_nothing() -> None:
    assert new(ReachSettings("bob", "script"), ReachSettings("bob", "claude"))[0].startswith(
        "runtime claude: api.anthropic.com"
    )


@pytest.mark.parametrize("runtime", ["opencode", "acp"])
def test_a_runtime_of_any_model_needs_its_host_named(runtime: str) -> None:
    (note,) = newly_reachable(None, ReachSettings("bob", runtime), OperatorFile()).notes
    assert note == f"runtime {runtime} may use any model's API: its host must be in network.allow"


def test_a_new_agent_has_all_of_it_as_new() -> None:
    words = new(None, ReachSettings("bob", "claude", ("crates.io",)))
    assert words[0] == "crates.io (ports 80 and 443)" and words[1].startswith("runtime claude: ")


def test_hosts_of_the_runtime_beyond_the_ceiling_are_named_as_not_applying() -> None:
    ceiling = [parse_rule("api.anthropic.com")]
    words = newly_reachable(ReachSettings("bob", "script"), ReachSettings("bob", "claude"), FILE, ceiling)
    assert words.new == ("runtime claude: api.anthropic.com (port 443)",)
    assert words.notes == (
        "runtime claude's own hosts beyond the operator's ceiling do not apply: platform.claude.com, claude.ai",
    )


def test_a_group_that_is_missing_is_named() -> None:
    words = newly_reachable(script(), script("@rust"), FILE)
    assert words == ReachWords(notes=("@rust is no group of the operator's network.toml",))
