"""The harness's relays: the first byte of an answer beside the same server without them. `python -m tests.bench.relay`.

The server, the relays and the client are three processes. The memory is what a process has more with both relays open
than with asyncio and the harness's settings alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, figure

ROUNDS = 300
POST = 50_000
"""Bytes of a request for a message."""
CALL = 300
"""Bytes of a tool call."""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def measure() -> Iterator[Figure]:
    """Each request on a connection that is kept alive, as a CLI does; hive's own connection is new for each."""
    with tempfile.TemporaryDirectory(prefix="hive-b-") as folder:
        directory = Path(folder)
        with _program("upstream", directory) as server, _program("relays", directory) as relays:
            direct, (out, tools, token, memory) = int(server[0]), relays
            for name, port, size, bound in (
                ("a request of 50 kB through the way out", int(out), POST, 2.0),
                ("a call of hive's tools through the relay", int(tools), CALL, 5.0),
            ):
                head = (
                    f"POST /mcp HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {size}\r\n\r\n"
                )
                request = head.encode() + b"x" * size
                floor, value = _latencies(direct, request), _latencies(port, request)
                yield figure(f"{name}: first byte", "ms", value, floor=floor, at_most=bound)
            yield figure("both relays in the harness: memory", "MiB", [float(memory)], at_most=4.0)


def _latencies(port: int, request: bytes) -> list[float]:
    took = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            client.sendall(request)
            answer = client.recv(65_536)
            took.append((time.perf_counter() - began) * 1000)
            while b"{}" not in answer:
                answer += client.recv(65_536)
    return took[ROUNDS // 10 :]


@contextlib.contextmanager
def _program(what: str, directory: Path) -> Iterator[list[str]]:
    """Run this file as another process; yield the words of its first line."""
    argv = [sys.executable, "-m", "tests.bench.relay", what, str(directory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()
        finally:
            process.terminate()


async def _upstream(directory: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                writer.write(ANSWER)
        writer.close()

    for name in ("egress.sock", "http.sock"):
        await asyncio.start_unix_server(serve, directory / name, limit=2**20)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.Event().wait()


async def _relays(directory: Path) -> None:
    from harness.serve import read_settings

    assert read_settings is not None
    before = _resident()
    from harness.relay.egress import egress_relay
    from harness.relay.mcp import mcp_relay

    async with egress_relay(directory) as out, mcp_relay(directory / "http.sock") as tools:
        ports = out.rsplit(":", 1)[1], tools.url.split(":")[2].split("/")[0]
        print(*ports, tools.token, (_resident() - before) / 2**20, flush=True)  # noqa: T201
        await asyncio.Event().wait()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        programs = {"upstream": _upstream, "relays": _relays}
        asyncio.run(programs[sys.argv[1]](Path(sys.argv[2])))
    for one in measure():
        print(one)  # noqa: T201
