"""The ClientHello: only its SNI is read, and nothing hostile takes long or passes."""

from __future__ import annotations

from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.egress.client_hello import Hello, HelloReader, NotHello, looks_like_tls
from reconciler.egress.limits import HELLO_LIMIT
from tests.reconciler.egress.lab import hello

REAL = hello("api.example.org")
NAMELESS = hello(None)


def parse_client_hello(data: bytes) -> Hello | None:
    """Read bytes that come at once."""
    return HelloReader().feed(data)


def block(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def server_name(name: bytes, kind: int = 0) -> bytes:
    return b"\0\0" + block(2, block(2, bytes([kind]) + block(2, name)))


def built(extensions: bytes, *, behind: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + block(1, b"") + block(2, b"\x13\x01") + block(1, b"\0") + block(2, extensions)
    message = b"\x01" + block(3, body + behind)
    return b"\x16\x03\x01" + block(2, message)


def records(message: bytes, size: int) -> bytes:
    """Spread the message of one record over many."""
    content = message[5:]
    parts = (content[start : start + size] for start in range(0, len(content), size))
    return b"".join(b"\x16\x03\x01" + block(2, part) for part in parts)


def test_the_name_of_a_real_client_is_read() -> None:
    assert parse_client_hello(REAL) == Hello("api.example.org")
    assert parse_client_hello(NAMELESS) == Hello("")


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_a_hello_may_be_spread_over_many_records(size: int) -> None:
    assert parse_client_hello(records(REAL, size)) == Hello("api.example.org")


def test_a_hello_is_whole_only_with_its_last_byte() -> None:
    for data in (REAL, records(REAL, 50)):
        assert all(parse_client_hello(data[:end]) is None for end in range(len(data)))


@pytest.mark.parametrize("data", [REAL, records(REAL, 1)], ids=["one record", "a record per byte"])
def test_a_hello_may_come_byte_by_byte(data: bytes) -> None:
    reader = HelloReader()

    assert [reader.feed(data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [
        Hello("api.example.org")
    ]


def test_what_follows_a_hello_is_not_looked_at() -> None:
    assert parse_client_hello(REAL + b"\x17\x03\x03garbage") == Hello("api.example.org")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no record"),
        (b"\x80\x2e\x01\x03\x01", "no record"),  # of SSL 2
        (b"\x15\x03\x01\x00\x02\x02\x28", "no record"),
        (b"\x16\x02\x00\x00\x01\x01", "no record"),
        (b"\x16\x03\x05\x00\x01\x01", "no record"),
        (b"\x16\x03\x01\x00\x00", "0 bytes"),
        (b"\x16\x03\x01\xff\xff", "65535 bytes"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "does not begin"),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "16777215 bytes"),
        (built(server_name(b"a.example") + server_name(b"b.example")), "two server names"),
        (built(server_name(b"a.example", kind=1)), "not one host's"),
        (built(b"\0\0" + block(2, block(2, (b"\0" + block(2, b"a.example")) * 2))), "not one host's"),
        (built(server_name(b"")), "not ASCII"),
        (built("münchen.example".encode().join([b"\0\0\0\x15\0\x13\0\0\x10", b""])), "not ASCII"),
        (built(b"\0\0" + b"\0\xff" + b"\0"), "beyond its end"),
        (built(b"", behind=b"x"), "behind the extensions"),
        (b"\x16\x03\x01" + block(2, REAL[5:20]) + b"\x14\x03\x01\x00\x01\x01", "no record"),
    ],
    ids=count(),
)
def test_bytes_that_are_no_hello_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotHello, match=why):
        parse_client_hello(data)


def test_an_endless_hello_is_refused() -> None:
    message = b"\x01" + (HELLO_LIMIT - 1100).to_bytes(3, "big") + bytes(HELLO_LIMIT)
    endless = records(b"....." + message, 1)[: HELLO_LIMIT + 1]

    with pytest.raises(NotHello, match="more than"):
        parse_client_hello(endless)


@pytest.mark.parametrize(
    ("data", "answer"),
    [(b"", None), (b"\x16", None), (b"\x16\x03", True), (b"\x16\x04", False), (b"SSH-2.0", False)],
)
def test_a_protocol_is_taken_for_tls_by_its_first_two_bytes(data: bytes, answer: bool | None) -> None:
    assert looks_like_tls(data) is answer


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_hello_is_refused_or_read(data: st.DataObject) -> None:
    damaged = bytearray(REAL)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_client_hello(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    except NotHello:
        return


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_are_refused_or_wait(data: bytes, as_record: bool) -> None:
    try:
        parse_client_hello(b"\x16\x03\x01" + block(2, b"\x01" + data) if as_record else data)
    except NotHello:
        return


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_verdict_does_not_depend_on_how_the_bytes_are_split(data: st.DataObject) -> None:
    damaged = bytearray(records(REAL, data.draw(st.sampled_from([1, 60, 600]))))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(0, 255))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(damaged)), max_size=20)))
    parts = [bytes(damaged[start:end]) for start, end in pairwise([0, *cuts, len(damaged)])]

    assert verdict(parts) == verdict([bytes(damaged)])


def verdict(parts: list[bytes]) -> str:
    """Return what is read of bytes that come in parts."""
    reader = HelloReader()
    try:
        for part in parts:
            if (whole := reader.feed(part)) is not None:
                return f"name {whole.name}"
    except NotHello:
        return "refused"
    return "waits"
