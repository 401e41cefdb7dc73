"""The way out beside tinyproxy and a direct connection, all on loopback: `python -m tests.bench.egress`.

The server, the proxies and the client are processes of their own. What the client asks for comes over a plain tunnel;
the model's API is behind TLS, and its answer is a stream. Without tinyproxy the figures have no peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import resource
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.figure import Figure, figure, percentile
from tests.support.egress import Egress, connect, policy
from tests.support.own_ca import client_context, context_of, server_file

HOST = "up.example"
SETUPS = 400
ROUNDS = 5
ONE = 256 * 2**20
"""Bytes through one tunnel."""
MANY = 100
EACH = 2 * 2**20
"""Bytes through each of many tunnels."""
IDLE = 1_000
TOKENS = 150
PAUSE = 0.03
"""Seconds between two requests for a message. An agent's are further apart, and beyond about 100 a second they wait for
its share of the parser (reconciler.egress.share).
"""
POST = 50_000
"""Bytes of a request for a message."""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'event: x\ndata: {"a": 1}\n\n'

Dial = Callable[[], socket.socket]
"""Returns a connection to the server, through something or directly."""


def measure() -> Iterator[Figure]:
    """The tunnels, with and without the relay of the harness; the key route; the memory."""
    _allow_many_files()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hive-b-")))
        shutil.copy(server_file("api.example"), folder / "server.pem")
        plain, tls = map(int, stack.enter_context(_program("upstream", folder)))
        egress = stack.enter_context(Egress(folder, _network(folder, plain, tls)))
        rules = policy(f"{HOST}:{plain}", routes=("anthropic",))
        egress.push(alice=dataclasses.replace(rules, connections=2 * IDLE))
        (relay,) = map(int, stack.enter_context(_program("relay", egress.socket("alice").parent)))
        direct: Dial = lambda: socket.create_connection(("127.0.0.1", plain))  # noqa: E731 - three of one kind
        through: Dial = lambda: connect(egress.socket("alice"), f"{HOST}:{plain}")[1]  # noqa: E731
        inside: Dial = lambda: _proxied(relay, f"{HOST}:{plain}")  # noqa: E731
        peer = _tinyproxy(stack, folder, plain)
        yield from _setups(direct, through, peer)
        yield from _throughput(direct, through, inside, peer)
        yield from _first_token(tls, egress.socket("alice"))
        yield from _memory(egress, through, peer)


@dataclasses.dataclass(frozen=True)
class Peer:
    """tinyproxy, and its process."""

    dial: Dial
    pid: int


def _setups(direct: Dial, through: Dial, peer: Peer | None) -> Iterator[Figure]:
    took: dict[str, list[float]] = {"direct": [], "hive": [], "tinyproxy": []}
    ways = {"direct": direct, "hive": through, **({"tinyproxy": peer.dial} if peer else {})}
    for _ in range(SETUPS):
        for name, dial in ways.items():
            began = time.perf_counter()
            dial().close()
            took[name].append((time.perf_counter() - began) * 1000)
    floor = took["direct"]
    yield figure("way out: a tunnel's set-up, median", "ms", took["hive"], floor=floor, over_at_most=1.0)
    yield figure("way out: a tunnel's set-up, p95", "ms", took["hive"], floor=floor, at=percentile(95))
    if peer:
        yield figure("tinyproxy: a tunnel's set-up, median", "ms", took["tinyproxy"], floor=floor)
        yield figure("tinyproxy: a tunnel's set-up, p95", "ms", took["tinyproxy"], floor=floor, at=percentile(95))


def _throughput(direct: Dial, through: Dial, inside: Dial, peer: Peer | None) -> Iterator[Figure]:
    ways = {"direct": direct, "hive": through, "relay": inside, **({"tinyproxy": peer.dial} if peer else {})}
    for what, count, size, least in (("one tunnel", 1, ONE, 0.8), (f"{MANY} tunnels", MANY, EACH, 1.0)):
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, dial in ways.items():
                rates[name].append(_rate(dial, count, size))
        beside = rates.get("tinyproxy", [])
        name = f"way out: {what}, throughput"
        yield figure(f"{name} beside tinyproxy's", "MB/s", rates["hive"], floor=beside, ratio_at_least=least)
        yield figure(f"{name} through the harness's relay too", "MB/s", rates["relay"], floor=beside)
        yield figure(f"{name} beside a direct connection's", "MB/s", rates["hive"], floor=rates["direct"])


def _rate(dial: Dial, count: int, size: int) -> float:
    """Return the megabytes per second that `count` connections get together, their set-up not counted."""
    buffer = bytearray(2**20)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        left = {stack.enter_context(dial()): size for _ in range(count)}
        for connection in left:
            selector.register(connection, selectors.EVENT_READ)
        began = time.perf_counter()
        for connection in tuple(left):
            connection.sendall(b"get %d\n" % size)
        while left:
            for key, _ in selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                read = ready.recv_into(buffer)
                assert read, "a connection ended early"
                left[ready] -= read
                if not left[ready]:
                    selector.unregister(ready)
                    del left[ready]
        return count * size / (time.perf_counter() - began) / 1e6


def _first_token(port: int, path: Path) -> Iterator[Figure]:
    head = f"POST {{}}/v1/messages HTTP/1.1\r\nhost: api.example\r\nx-api-key: dummy\r\ncontent-length: {POST}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as raw, socket.socket(socket.AF_UNIX) as routed:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        routed.connect(str(path))
        with client_context().wrap_socket(raw, server_hostname="api.example") as direct:
            ways: tuple[tuple[socket.socket, str], ...] = ((direct, ""), (routed, "/anthropic"))
            took: list[list[float]] = [[], []]
            for _ in range(TOKENS):
                for times, (connection, prefix) in zip(took, ways, strict=True):
                    times.append(_token(connection, head.format(prefix).encode() + b"x" * POST))
                time.sleep(PAUSE)
    floor, value = (times[TOKENS // 10 :] for times in took)
    yield figure("way out: first token by the key route, median", "ms", value, floor=floor, over_at_most=2.0)
    yield figure("way out: first token by the key route, p95", "ms", value, floor=floor, at=percentile(95))


def _token(connection: socket.socket, request: bytes) -> float:
    """Return the milliseconds until the first event of the answer, and read the answer to its end."""
    began = time.perf_counter()
    connection.sendall(request)
    answer = b""
    while b"data: " not in answer:
        answer += _more(connection)
    took = (time.perf_counter() - began) * 1000
    while not answer.endswith(b"\r\n0\r\n\r\n"):
        answer += _more(connection)
    return took


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    assert data, "the connection ended"
    return data


def _memory(egress: Egress, through: Dial, peer: Peer | None) -> Iterator[Figure]:
    before = _resident(egress.pid)
    yield figure("way out: memory at rest", "MB", [before])
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(through())
        beside = []
        if peer:
            for _ in range(IDLE):
                stack.enter_context(peer.dial())
            beside = [_resident(peer.pid)]
        value = [_resident(egress.pid)]
        yield figure(f"way out: memory with {IDLE:,} idle tunnels", "MB", value, floor=beside, at_most=60.0)


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _allow_many_files() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))


def _network(folder: Path, plain: int, tls: int) -> str:
    key = folder / "key"
    key.write_text("sk-real", encoding="ascii")
    key.chmod(0o600)
    return f"""
private = ["{HOST}:{plain}", "api.example:{tls}"]
[hosts]
"{HOST}" = "127.0.0.1"
"api.example" = "127.0.0.1"
[limits]
connections = {2 * IDLE}
[credentials.anthropic]
file = "{key}"
upstream = "https://api.example:{tls}"
"""


def _tinyproxy(stack: contextlib.ExitStack, folder: Path, upstream: int) -> Peer | None:
    if shutil.which("tinyproxy") is None:
        sys.stderr.write("tinyproxy is missing, the way out has no peer: apt-get install tinyproxy-bin\n")
        return None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "tinyproxy.conf"
    lines = (f"Port {port}", "Listen 127.0.0.1", "Timeout 600", f"MaxClients {2 * IDLE}", "LogLevel Error")
    file.write_text("\n".join((*lines, f'LogFile "{folder}/tinyproxy.log"', "")), encoding="ascii")
    process = subprocess.Popen(["tinyproxy", "-d", "-c", file], stdin=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = time.monotonic() + 10
    while True:
        try:
            _proxied(port, f"127.0.0.1:{upstream}").close()
            return Peer(lambda: _proxied(port, f"127.0.0.1:{upstream}"), process.pid)
        except OSError:
            assert time.monotonic() < deadline, "tinyproxy does not answer"
            time.sleep(0.02)


def _proxied(port: int, target: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    assert b" 200 " in answer, answer
    return connection


@contextlib.contextmanager
def _program(what: str, directory: Path) -> Iterator[list[str]]:
    """Run this file as another process; yield the words of its first line."""
    argv = [sys.executable, "-m", "tests.bench.egress", what, str(directory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()
        finally:
            process.terminate()


def _upstream(folder: Path) -> None:
    _allow_many_files()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    asyncio.run(_api(listener.getsockname()[1], folder / "server.pem"))


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_send, args=(connection,), daemon=True).start()


def _send(connection: socket.socket) -> None:
    block = memoryview(bytes(2**18))
    with connection, contextlib.suppress(OSError), connection.makefile("rb") as lines:
        for line in lines:
            left = int(line.split()[1])
            while left:
                connection.sendall(block[:left])
                left -= min(left, len(block))


async def _api(plain: int, certificate: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                writer.write(ANSWER)
                for _ in range(3):
                    writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20, ssl=context_of(certificate))
    print(plain, server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.Event().wait()


async def _relay(directory: Path) -> None:
    from harness.relay.egress import egress_relay

    async with egress_relay(directory, limit=2 * MANY) as url:
        print(url.rsplit(":", 1)[1], flush=True)  # noqa: T201
        await asyncio.Event().wait()


def main() -> None:
    """Print the figures, or be one of the other processes."""
    if len(sys.argv) < 2:
        for one in measure():
            print(one, flush=True)  # noqa: T201
    elif sys.argv[1] == "upstream":
        _upstream(Path(sys.argv[2]))
    else:
        asyncio.run(_relay(Path(sys.argv[2])))


if __name__ == "__main__":
    main()
