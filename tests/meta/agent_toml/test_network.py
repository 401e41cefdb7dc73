"""`[network]` of agent.toml: rules in one spelling, groups, and errors that name the entry."""

from __future__ import annotations

import json

import pytest

from meta.agent_toml.settings import flatten, parse_settings
from meta.errors import BadInput


def parse(*entries: str) -> list[str]:
    return parse_settings(f"[network]\nallow = {json.dumps(entries)}".encode()).network.allow


@pytest.mark.parametrize(
    "entry",
    [
        "crates.io",
        "*.github.com",
        "crates.io:443",
        "git.example.org:22",
        "registry.example:*",
        "*",
        "*:443",
        "@python",
        "@a-1",
        "192.0.2.7:443",
        "[2001:db8::1]",
        "xn--e1afmkfd.example",
    ],
)
def test_an_entry_in_its_one_spelling_is_taken(entry: str) -> None:
    assert parse(entry) == [entry]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("Crates.io", "write 'crates.io'"),
        ("[2001:DB8::0:1]", "write '[2001:db8::1]'"),
        ("https://crates.io/", "without https://"),
        ("crates.io.", "'crates.io.' is no host"),
        ("0x7f.1", "odd spelling"),
        ("пример.example", "xn--e1afmkfd.example"),
        ("crates.io:0", "is no port"),
        ("", "'' is no host"),
        ("@", "is no name of a group"),
        ("@Python", "is no name of a group"),
        ("@python:443", "is no name of a group"),
    ],
)
def test_an_error_names_the_entry_and_what_to_write(entry: str, words: str) -> None:
    with pytest.raises(BadInput, match=r"network\.allow") as error:
        parse("a.example", entry)
    assert words in error.value.summary and repr(entry[:60]) in error.value.summary


def test_an_entry_is_there_once() -> None:
    with pytest.raises(BadInput, match=r"'a\.example' is there twice"):
        parse("a.example", "b.example", "a.example")


def test_there_are_at_most_128_entries() -> None:
    assert len(parse(*(f"h{n}.example" for n in range(128)))) == 128
    with pytest.raises(BadInput, match="at most 128 entries"):
        parse(*(f"h{n}.example" for n in range(129)))


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="did you mean 'allow'") as error:
        parse_settings(b'[network]\nalow = ["a"]')
    assert error.value.hint == "known in [network]: allow, defaults"


def test_both_keys_are_shown_with_their_defaults() -> None:
    flat = flatten(parse_settings(b""))
    assert flat["network.allow"] == "[]" and flat["network.defaults"] == "true"
