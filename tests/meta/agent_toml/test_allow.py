"""A rule for good is one more entry in the text: everything else of the file stays as it was written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.agent_toml.allow import with_rule
from meta.errors import BadInput

RULE = "crates.io:443"

EDITS = {
    "an empty file": ("", '[network]\nallow = ["crates.io:443"]\n'),
    "no table": ('model = "x" # why\n', 'model = "x" # why\n\n[network]\nallow = ["crates.io:443"]\n'),
    "no newline at the end": ("# only words", '# only words\n\n[network]\nallow = ["crates.io:443"]\n'),
    "a table without a list": (
        "[network]\ndefaults = false\n",
        '[network]\nallow = ["crates.io:443"]\ndefaults = false\n',
    ),
    "an empty table at the end": ("[network]", '[network]\nallow = ["crates.io:443"]\n'),
    "an empty list": ("[network]\nallow = []\n", '[network]\nallow = ["crates.io:443"]\n'),
    "one line": ('[network]\nallow = ["a.org"] # mine\n', '[network]\nallow = ["a.org", "crates.io:443"] # mine\n'),
    "a comma at the end": ("[network]\nallow = ['a.org', ]\n", "[network]\nallow = ['a.org', \"crates.io:443\" ]\n"),
    "lines with comments": (
        '[network]\nallow = [\n  # the forge\n  "a.org", # needed ]\n  "b.org" # too\n]\n[limits]\n',
        '[network]\nallow = [\n  # the forge\n  "a.org", # needed ]\n'
        '  "b.org", # too\n  "crates.io:443",\n]\n[limits]\n',
    ),
    "a bracket within an entry of another list": (
        '[permissions]\nallow = ["Bash(ls [a])"]\n[network]\nallow = ["a.org"]\n',
        '[permissions]\nallow = ["Bash(ls [a])"]\n[network]\nallow = ["a.org", "crates.io:443"]\n',
    ),
    "a table of words only": (
        'prompt = """\n[network]\nallow = []\n"""\n',
        'prompt = """\n[network]\nallow = []\n"""\n\n[network]\nallow = ["crates.io:443"]\n',
    ),
    "a dotted key": ('network.allow = ["a.org"]\n', 'network.allow = ["a.org", "crates.io:443"]\n'),
    "an inline table": ('network = { allow = ["a.org"] }\n', 'network = { allow = ["a.org", "crates.io:443"] }\n'),
}


@pytest.mark.parametrize(("before", "after"), EDITS.values(), ids=EDITS)
def test_a_rule_is_added_and_the_rest_stays(before: str, after: str) -> None:
    assert with_rule(before, RULE) == after
    assert tomllib.loads(after)["network"]["allow"][-1] == RULE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[network\n", "not TOML"),
        ("network = 3\n", "not a list"),
        ('[network]\nallow = "a.org"\n', "not a list"),
        ('[network]\nallow = ["crates.io:443"]\n', "already"),
        ("network = {}\n", "cannot add"),
    ],
)
def test_a_file_that_cannot_be_edited_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        with_rule(text, RULE)


@given(st.lists(st.sampled_from(["[network]\n", "allow = [", "]", '"a.org"', ",", "\n", "# [x]\n", " ", "'", '"""'])))
def test_no_text_is_edited_wrongly(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        edited = tomllib.loads(with_rule(text, RULE))
    except BadInput:
        return
    allow = edited["network"]["allow"]
    assert allow[-1] == RULE
    assert allow[:-1] == tomllib.loads(text).get("network", {}).get("allow", [])


@pytest.mark.parametrize("line", ["allow = []", "[network]", "network = { allow = [] }"])
def test_a_file_full_of_words_that_look_like_the_list_costs_a_few_parses(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    parses, real = list[int](), tomllib.loads

    def loads(text: str) -> dict[str, Any]:
        parses.append(len(text))
        return real(text)

    monkeypatch.setattr("meta.agent_toml.allow.tomllib.loads", loads)
    words = f"{line}\n" * 500
    text = f'prompt = """\n{words}"""\n[network]\ndefaults = true\n'
    with pytest.raises(BadInput) as error:
        with_rule(text, RULE)
    assert "by hand" in error.value.hint
    assert len(parses) < 10
