"""The head of a CONNECT: one clean spelling passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta.network.verdict import Verdict
from reconciler.egress.head import Target, is_connect, parse_authority, parse_connect, refusal_answer
from reconciler.egress.limits import HEAD_LIMIT
from reconciler.egress.ports import Denied


def test_a_connect_names_a_host_and_a_port() -> None:
    head = b"CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\nUser-Agent: curl/7.88.1\r\n\r\n"

    assert parse_connect(head + b"\x16\x03\x01") == Target("api.example.org", 443, b"\x16\x03\x01")
    assert all(parse_connect(head[:end]) is None for end in range(len(b"CONNECT "), len(head)))


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT a.example:443\r\n\r\n",
        b"CONNECT a.example:443 HTTP/2\r\n\r\n",
        b"CONNECT  a.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\n\n",
        b"CONNECT a.example:443 HTTP/1.1\r\n folded\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nno colon\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nA : b\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nA: b\0c\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"CONNECT m\xc3\xbcnchen.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT a.example HTTP/1.1\r\n\r\n",
        b"CONNECT https://a.example:443/ HTTP/1.1\r\n\r\n",
        b"CONNECT a\0.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT " + b"a" * (HEAD_LIMIT + 1),
        b"CONNECT a.example:443 HTTP/1.1\r\nA: " + b"b" * HEAD_LIMIT,
    ],
)
def test_a_head_that_is_not_clean_is_a_bad_request(head: bytes) -> None:
    with pytest.raises(Denied) as caught:
        parse_connect(head)

    assert caught.value.verdict is Verdict.BAD_REQUEST


@pytest.mark.parametrize(
    "text",
    [
        *("a.example:0", "a.example:65536", "a.example:", "a.example:0443", "a.example:+443", "a.example:44 3"),
        *("a.example:0x1bb", "a.example:٤٤٣", ":443", "a.example", "::1:443", "[::1:443", "::1]:443", "a:b:443"),
    ],
)
def test_a_port_has_one_spelling(text: str) -> None:
    with pytest.raises(Denied):
        parse_authority(text)


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert parse_authority("[2001:db8::1]:443") == ("[2001:db8::1]", 443)


@pytest.mark.parametrize(
    ("data", "answer"),
    [(b"", None), (b"CONN", None), (b"CONNECT ", True), (b"CONNECTX", False), (b"connect ", False), (b"G", False)],
)
def test_a_connection_begins_with_connect_or_is_for_others(data: bytes, answer: bool | None) -> None:
    assert is_connect(data) is answer


def test_an_answer_has_one_status_line_of_ascii() -> None:
    answer = refusal_answer(Denied(Verdict.NOT_LISTED, "evil\r\nSet-Cookie: a=b\N{EURO SIGN}"))

    assert answer.split(b"\r\n")[0] == b"HTTP/1.1 403 evil??Set-Cookie: a=b?"
    assert b"\nSet-Cookie" not in answer


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("CONET a.:[]@%0123456789\r\n\0/HTP1", max_size=80).map(str.encode)))
def test_random_bytes_are_refused_or_wait(data: bytes) -> None:
    try:
        target = parse_connect(b"CONNECT " + data)
    except Denied:
        return
    assert target is None or 0 < target.port < 65_536
