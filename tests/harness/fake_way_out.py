"""A stand-in for `hive-egress`: one agent's socket that says what it is told to, and tunnels to loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any


class FakeWayOut:
    """The socket. `answer` is that about itself; None: it does not know the question. `hosts` lead to
    loopback ports.

    What else is asked by CONNECT is refused.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer: dict[str, Any] | None = {"routes": {}, "held": "", "refused": [], "next": 0}
        self.hosts: dict[str, int] = {}
        self.routes: dict[str, Path] = {}
        """Folders whose files are served below a route."""
        self.refusal = ""
        """The status and phrase for hosts that are not there; empty: they are not listed."""
        self.asked: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._accept, self.folder / "egress.sock")

    async def close(self) -> None:
        """Die: the socket goes, and connections break."""
        if self._server is not None:
            self._server.close()
        (self.folder / "egress.sock").unlink(missing_ok=True)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
                method, target, _ = head.split(" ", 2)
                self.asked.append(f"{method} {target}")
                if method == "CONNECT":
                    await self._tunnel(target, reader, writer)
                elif (route := target.split("/")[1]) in self.routes:
                    self._file(self.routes[route] / target.split("?")[0].removeprefix(f"/{route}/"), writer)
                elif self.answer is None:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                else:
                    body = json.dumps(self.answer).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
            finally:
                writer.close()

    def _file(self, path: Path, writer: asyncio.StreamWriter) -> None:
        data = path.read_bytes() if path.is_file() else b""
        status = b"200 OK" if path.is_file() else b"404 Not Found"
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(data), data))

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.hosts.get(target)
        if port is None:
            refusal = self.refusal or f"403 {target}-is-not-on-the-list-of-alice (ask with request_network)"
            writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        far, near = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_carry(reader, near))
                ways.create_task(_carry(far, writer))
        finally:
            near.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


@contextlib.asynccontextmanager
async def fake_way_out() -> AsyncIterator[FakeWayOut]:
    """Listen inside the block, in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="hive-way-") as folder:
        way = FakeWayOut(Path(folder))
        await way.open()
        try:
            yield way
        finally:
            await way.close()
