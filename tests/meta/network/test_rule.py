"""Hosts and rules: one spelling for each, what a rule covers, and what is within a ceiling. A row for each trick."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta.errors import BadInput
from meta.network.rule import Rule, authority, beyond, canonical_host, covers, is_address, parse_rule

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
A63 = "a" * 63


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.org", "example.org"),
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("localhost", "localhost"),
        ("a_b.example", "a_b.example"),
        ("_acme.example", "_acme.example"),
        ("xn--E1AFMKFD.example", "xn--e1afmkfd.example"),
        (f"{A63}.example", f"{A63}.example"),
        ("1.example", "1.example"),
        ("0x7f.example", "0x7f.example"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7.", "192.0.2.7"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::1", "::1"),
        ("::7f00:1", "::7f00:1"),
        ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert canonical_host(text) == host
    assert canonical_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "example.org..",
        ".example.org",
        "a..b",
        "-a.example",
        "a-.example",
        "a b.example",
        "a\tb",
        "a\nb",
        "a\0b",
        "a/b",
        "a@b",
        "user@example.org",
        "example.org:443",
        "a%2eb",
        "a\\b",
        "*",
        "*.example.org",
        "a,b",
        "a;b",
        "a'b",
        '"a"',
        f"{A63}a.example",
        ".".join(["a" * 62] * 5),
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0X7F.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.1",
        "256.0.0.1",
        "1.2.3",
        "example.1",
        "example.0x",
        "example.0x1f",
        "[127.0.0.1]",
        "[example.org]",
        "[]",
        "[::1",
        "::1]",
        "[::1].",
        "::1.",
        "[[::1]]",
        ":::",
        "1:2:3:4:5:6:7:8:9",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "пример.example",
        "EXAMPLE。org",
        "\uff45xample.org",
        "①.example",
        "127。0。0。1",
        "a\u00adb.example",
        "\ud800",
        "\u212a.example",
    ],
)  # fmt: skip
def test_what_has_no_one_spelling_is_no_host(text: str) -> None:
    with pytest.raises(BadInput):
        canonical_host(text)


@pytest.mark.parametrize(
    ("text", "host", "ports", "shown"),
    [
        ("example.org", "example.org", (80, 443), "example.org"),
        ("EXAMPLE.org:443", "example.org", (443,), "example.org:443"),
        ("example.org:1", "example.org", (1,), "example.org:1"),
        ("example.org:65535", "example.org", (65535,), "example.org:65535"),
        ("example.org:*", "example.org", (), "example.org:*"),
        ("*.example.org", "*.example.org", (80, 443), "*.example.org"),
        ("*.Example.org:22", "*.example.org", (22,), "*.example.org:22"),
        ("*", "*", (80, 443), "*"),
        ("*:*", "*", (), "*:*"),
        ("*:443", "*", (443,), "*:443"),
        ("192.0.2.7", "192.0.2.7", (80, 443), "192.0.2.7"),
        ("192.0.2.7:53", "192.0.2.7", (53,), "192.0.2.7:53"),
        ("[2001:DB8::1]", "2001:db8::1", (80, 443), "[2001:db8::1]"),
        ("[2001:db8::1]:443", "2001:db8::1", (443,), "[2001:db8::1]:443"),
        ("[::1]:*", "::1", (), "[::1]:*"),
    ],
)
def test_a_rule_is_a_host_and_its_ports(text: str, host: str, ports: tuple[int, ...], shown: str) -> None:
    rule = parse_rule(text)
    assert rule == Rule(host, ports)
    assert rule.text == shown and parse_rule(shown) == rule


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "write a name"),
        ("*.", "write a name"),
        ("**", "write a name"),
        ("*.*", "write a name"),
        ("**.example.org", "write a name"),
        ("a.*.example.org", "write a name"),
        ("a*.example.org", "write a name"),
        ("*example.org", "write a name"),
        ("example.*", "write a name"),
        ("*.192.0.2.7", "docs/reference/network.md"),
        ("*.[::1]", "in brackets"),
        ("*.7", "without leading zeros"),
        ("[*]", "write it like"),
        ("[example.org]:443", "write it like"),
        ("[192.0.2.7]:443", "write it like"),
        ("2001:db8::1", "in brackets"),
        ("2001:db8::1:443", "in brackets"),
        ("::1", "in brackets"),
        ("[::1]443", "docs/reference/network.md"),
        ("[::1", "docs/reference/network.md"),
        ("[::1]:", "1 to 65535"),
        ("[::ffff:127.0.0.1]:443", "write 127.0.0.1"),
        ("[fe80::1%eth0]", "leave `%...` out"),
        ("example.org:", "1 to 65535"),
        ("example.org:0", "1 to 65535"),
        ("example.org:65536", "1 to 65535"),
        ("example.org:080", "1 to 65535"),
        ("example.org:+80", "1 to 65535"),
        ("example.org:-1", "1 to 65535"),
        ("example.org:4_4", "1 to 65535"),
        ("example.org: 80", "1 to 65535"),
        ("example.org:80 ", "1 to 65535"),
        ("example.org:٤٤٣", "1 to 65535"),
        ("example.org:https", "1 to 65535"),
        ("example.org:80-90", "1 to 65535"),
        ("example.org:80,443", "1 to 65535"),
        ("example.org:**", "1 to 65535"),
        ("example.org.", "write a name"),
        (" example.org", "write a name"),
        ("example.org\n", "write a name"),
        ("https://example.org", "without https://"),
        ("example.org/path", "without https://"),
        ("192.0.2.0/24", "without https://"),
        ("@python", "write a name"),
        ("127.1:80", "four numbers"),
        ("0x7f.1", "four numbers"),
        ("2130706433:80", "four numbers"),
        ("пример.example", "write it as xn--e1afmkfd.example"),
        ("straße.example", "xn--..."),
        ("\uff45xample.org", "xn--..."),
        ("é" * 300, "xn--..."),
    ],
)
def test_what_is_no_rule_is_refused_with_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_rule(text)
    assert remedy in error.value.hint


@pytest.mark.parametrize(
    ("rule", "host", "port", "is_covered"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "example.org", 8080, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "badexample.org", 443, False),
        ("example.org", "example.org.evil.example", 443, False),
        ("example.org:22", "example.org", 22, True),
        ("example.org:22", "example.org", 443, False),
        ("example.org:*", "example.org", 1, True),
        ("*.example.org", "www.example.org", 443, True),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "badexample.org", 443, False),
        ("*.org", "example.org", 80, True),
        ("*", "example.org", 443, True),
        ("*", "localhost", 80, True),
        ("*", "example.org", 22, False),
        ("*:*", "example.org", 22, True),
        ("*:*", "192.0.2.7", 443, False),
        ("*:*", "::1", 443, False),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("192.0.2.7", "192.0.2.70", 443, False),
        ("[2001:db8::1]", "2001:db8::1", 443, True),
        ("[2001:db8::1]", "2001:db8::11", 443, False),
    ],
)
def test_what_a_rule_covers(rule: str, host: str, port: int, is_covered: bool) -> None:
    assert parse_rule(rule).covers(canonical_host(host), port) is is_covered
    assert covers([parse_rule("other.example"), parse_rule(rule)], host, port) is is_covered


@pytest.mark.parametrize(
    ("rule", "ceiling", "is_within"),
    [
        ("example.org", "example.org", True),
        ("example.org:443", "example.org", True),
        ("example.org", "example.org:443", False),
        ("example.org", "example.org:443 example.org:80", True),
        ("example.org:*", "example.org", False),
        ("example.org:*", "example.org:*", True),
        ("example.org:22", "example.org", False),
        ("example.org:22", "*:22", True),
        ("example.org", "*.example.org", False),
        ("www.example.org", "*.example.org", True),
        ("*.example.org", "*.example.org", True),
        ("*.a.example.org", "*.example.org", True),
        ("*.example.org", "*.a.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.example.org", "*", True),
        ("*", "*", True),
        ("*", "*.org", False),
        ("*:*", "*", False),
        ("*", "*:443 *:80", True),
        ("*", "*:443", False),
        ("192.0.2.7", "*:*", False),
        ("192.0.2.7", "192.0.2.7:*", True),
        ("[::1]", "*:*", False),
        ("192.0.2.7", "*.7", None),
        ("example.org", "*.example.org:443 example.org:443 *:80", True),
        ("example.org", "", False),
    ],
)
def test_a_rule_is_within_the_ceiling_only_as_a_whole(rule: str, ceiling: str, is_within: bool | None) -> None:
    if is_within is None:
        with pytest.raises(BadInput):
            parse_rule(ceiling)
        return
    rules = [parse_rule(text) for text in ceiling.split()]
    assert beyond([parse_rule(rule)], rules) == ([] if is_within else [parse_rule(rule)])


def test_without_a_ceiling_nothing_is_beyond_it() -> None:
    assert beyond([parse_rule("*:*")], None) == []


@QUICK
@given(st.text(max_size=300) | st.text("a.*:-0x1[]@ ", max_size=20))
def test_no_text_breaks_the_parser_and_what_it_takes_it_takes_again(text: str) -> None:
    try:
        rule = parse_rule(text)
    except BadInput as error:
        assert error.summary.isprintable() and len(error.summary) < 1000
        return
    assert parse_rule(rule.text) == rule


@pytest.mark.parametrize(("host", "text"), [("a.example", "a.example:22"), ("2001:db8::1", "[2001:db8::1]:22")])
def test_a_host_and_its_port_as_text_are_the_rule_that_covers_them_alone(host: str, text: str) -> None:
    assert authority(host, 22) == text
    assert parse_rule(text) == Rule(host, (22,))


@QUICK
@given(st.text("ab.1x:[]", max_size=12))
def test_a_canonical_host_is_canonical_and_is_covered_by_the_rule_of_its_name(text: str) -> None:
    try:
        host = canonical_host(text)
    except BadInput:
        return
    assert canonical_host(host) == host
    assert parse_rule(Rule(host).text).covers(host, 443)
    assert parse_rule("*").covers(host, 443) is not is_address(host)


_HOSTS = st.sampled_from(["a.b", "x.a.b", "*.a.b", "*.b", "*", "1.2.3.4", "c"])
_RULES = st.builds(Rule, _HOSTS, st.sampled_from([(), (80, 443), (22,), (443,)]))


@QUICK
@given(_RULES, st.lists(_RULES, max_size=4), st.sampled_from(["a.b", "x.a.b", "y.x.a.b", "b", "1.2.3.4", "c"]))
def test_what_a_rule_within_the_ceiling_covers_the_ceiling_covers(rule: Rule, ceiling: list[Rule], host: str) -> None:
    if not beyond([rule], ceiling):
        for port in (22, 80, 443, 8080):
            assert not rule.covers(host, port) or covers(ceiling, host, port)
