"""The ClientHello in front of a tunnel, and the name in it."""

from __future__ import annotations

import asyncio

import pytest

from meta.network.verdict import Verdict
from reconciler.egress import sni
from reconciler.egress.client_hello import ALERT
from tests.reconciler.egress.lab import ALICE, Lab, connect, eventually, hello


@pytest.fixture
def at_tls_port(way_out: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose upstream stands at the port of TLS: no test may need port 443 of the machine."""
    monkeypatch.setattr(sni, "TLS_PORT", way_out.upstream.port)
    return way_out


async def test_a_hello_that_names_the_host_passes_whole(at_tls_port: Lab) -> None:
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    data = hello("up.example")
    reader, writer = await at_tls_port.tunnel(target)

    for byte in data[:40]:
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    writer.write(data[40:] + b"more")

    assert await reader.readexactly(len(data) + 4) == data + b"more"
    writer.close()


async def test_a_hello_that_comes_with_the_connect_passes(at_tls_port: Lab) -> None:
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    data = hello("up.example")

    reader, writer = await at_tls_port.ask(connect(target) + data)

    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(len(data)) == data
    writer.close()


async def test_a_hello_may_name_another_host_that_is_allowed(at_tls_port: Lab) -> None:
    port = at_tls_port.upstream.port
    await at_tls_port.push(f"up.example:{port}", f"other.example:{port}")
    data = hello("other.example")
    reader, writer = await at_tls_port.tunnel(f"up.example:{port}")

    writer.write(data)

    assert await reader.readexactly(len(data)) == data
    writer.close()


@pytest.mark.parametrize(
    ("first", "verdict", "answer"),
    [
        (hello("evil.example"), Verdict.SNI, ALERT),
        (hello(None), Verdict.SNI, ALERT),
        (b"\x16\x03\x01\x00\x05garbage of a record", Verdict.SNI, ALERT),
        (b"GET / HTTP/1.1\r\n\r\n", Verdict.NOT_TLS, b""),
        (b"SSH-2.0-OpenSSH\r\n", Verdict.NOT_TLS, b""),
    ],
    ids=["other", "none", "garbage", "http", "ssh"],
)
async def test_at_the_port_of_tls_other_bytes_do_not_pass(
    at_tls_port: Lab, first: bytes, verdict: Verdict, answer: bytes
) -> None:
    at_tls_port.upstream.greeting = b"held back"
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    reader, writer = await at_tls_port.tunnel(target)

    writer.write(first)

    assert await reader.read() == answer
    assert at_tls_port.report().verdicts == {verdict: 1}
    assert at_tls_port.upstream.got == b""
    writer.close()


async def test_an_address_needs_no_name_in_its_hello(at_tls_port: Lab) -> None:
    port = at_tls_port.upstream.port
    at_tls_port.configure(f'private = ["127.0.0.1:{port}"]')
    await at_tls_port.server.tick()
    await at_tls_port.push(f"127.0.0.1:{port}")
    data = hello(None)
    reader, writer = await at_tls_port.tunnel(f"127.0.0.1:{port}")

    writer.write(data)

    assert await reader.readexactly(len(data)) == data
    writer.close()


@pytest.mark.parametrize("first", [b"", hello("up.example")[:50]], ids=["none", "a part"])
async def test_a_hello_that_does_not_come_ends_the_tunnel(at_tls_port: Lab, first: bytes) -> None:
    target = f"up.example:{at_tls_port.upstream.port}"
    await at_tls_port.push(target)
    reader, writer = await at_tls_port.tunnel(target)
    writer.write(first)
    await eventually(lambda: at_tls_port.report().sent == len(first))
    now = asyncio.get_running_loop().time()

    at_tls_port.server._carrier.sweep(now, 3600)
    at_tls_port.server._carrier.sweep(now + 29, 3600)
    assert at_tls_port.report().open == 1
    at_tls_port.server._carrier.sweep(now + 30, 3600)

    assert await reader.read() == (ALERT if first else b"")
    assert at_tls_port.report().verdicts == {Verdict.LIMIT: 1}


async def test_at_other_ports_a_client_may_say_nothing(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    await way_out.tunnel(target)
    now = asyncio.get_running_loop().time()

    way_out.server._carrier.sweep(now, 3600)
    way_out.server._carrier.sweep(now + 60, 3600)

    assert way_out.report().open == 1


async def test_at_other_ports_tls_may_not_name_a_host_that_is_not_allowed(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)

    writer.write(hello("evil.example"))

    assert await reader.read() == ALERT
    assert way_out.report().verdicts == {Verdict.SNI: 1}
    assert way_out.upstream.got == b""
    writer.close()


@pytest.mark.parametrize(
    ("first", "refused"),
    [
        (hello("evil.example"), ["evil.example"]),
        (hello("EVIL.example"), ["evil.example"]),
        (hello("a_b$c.example"), []),
        (b"\x16\x03\x01\x00\x05garbage of a record", []),
    ],
)
async def test_an_agent_is_told_the_name_in_its_tls_and_not_the_host_that_it_may_reach(
    way_out: Lab, first: bytes, refused: list[str]
) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    reader, writer = await way_out.tunnel(target)
    writer.write(first)
    await reader.read()
    await eventually(lambda: not way_out.report().open)

    rows, _ = way_out.server._gates[ALICE].refused_after(0)

    assert way_out.report().verdicts == {Verdict.SNI: 1}
    assert [host for host, _, _ in rows] == refused
    writer.close()


async def test_at_other_ports_tls_needs_no_name(way_out: Lab) -> None:
    target = f"up.example:{way_out.upstream.port}"
    await way_out.push(target)
    data = hello(None)
    reader, writer = await way_out.tunnel(target)

    writer.write(data)

    assert await reader.readexactly(len(data)) == data
    writer.close()
