"""The broker beside Redis streams as a peer: `make bench-peers`. Needs `redis-server`; on a unix socket only.

XADD, XREADGROUP and XACK stand for send, recv and ack_turn; once with every write on disk before its answer
(`appendfsync always`, which is what hive promises), once with a second that may be lost (`everysec`).
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import broker
from tests.bench.figure import Figure, figure

REDIS = "redis-server"
START = 10.0
SENDERS = 100


class Redis:
    """One connection, with as much of the protocol as is needed here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, *words: str) -> object:
        """One command and its answer."""
        parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
        self._writer.write("".join(parts).encode())
        return await self._value()

    async def _value(self) -> object:
        head = (await self._reader.readline()).decode().rstrip()
        kind, rest = head[:1], head[1:]
        if kind == "*":
            return [await self._value() for _ in range(int(rest))] if rest != "-1" else None
        if kind == "$":
            return None if rest == "-1" else (await self._reader.readexactly(int(rest) + 2))[:-2].decode()
        assert kind != "-", head
        return rest

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@contextmanager
def redis(fsync: str) -> Iterator[Path]:
    """A server of its own below a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="hr") as name:
        path = Path(name) / "redis.sock"
        words = [REDIS, "--port", "0", "--unixsocket", str(path), "--dir", name, "--appendonly", "yes"]
        server = subprocess.Popen([*words, "--appendfsync", fsync, "--save", ""], stdout=subprocess.DEVNULL)
        try:
            asyncio.run(_ready(path))
            yield path
        finally:
            server.terminate()
            server.wait(10)


async def _ready(path: Path) -> None:
    async with asyncio.timeout(START):
        while not path.exists():
            await asyncio.sleep(0.02)
        (await _connect(path)).close()


async def _connect(path: Path) -> Redis:
    return Redis(*await asyncio.open_unix_connection(path))


def measure() -> Iterator[Figure]:
    """The peers' figures, under the names of hive's."""
    for fsync in ("always", "everysec"):
        with redis(fsync) as path:
            yield from asyncio.run(_figures(path, fsync))


async def _figures(path: Path, fsync: str) -> list[Figure]:
    name = f"Redis streams, appendfsync {fsync}"
    return [
        figure(f"send to recv, 1 agent, {name}", "ms", await _latencies(path)),
        figure(f"accepted messages per second, one sender, {name}", "/s", [await _alone(path)]),
        figure(f"accepted messages per second, {SENDERS} senders, {name}", "/s", [await _many(path)]),
    ]


async def _latencies(path: Path) -> list[float]:
    sender, receiver = await _connect(path), await _connect(path)
    await sender.ask("XGROUP", "CREATE", "inbox", "all", "$", "MKSTREAM")
    took = []
    for _ in range(broker.LATENCIES):
        read = ("XREADGROUP", "GROUP", "all", "one", "COUNT", "1", "BLOCK", "60000", "STREAMS", "inbox", ">")
        waiting = asyncio.ensure_future(receiver.ask(*read))
        await asyncio.sleep(0.001)
        began = time.perf_counter()
        sent = asyncio.ensure_future(sender.ask("XADD", "inbox", "*", "body", broker.BODY))
        await waiting
        took.append((time.perf_counter() - began) * 1000)
        await receiver.ask("XACK", "inbox", "all", str(await sent))
    sender.close()
    receiver.close()
    return took


async def _alone(path: Path) -> float:
    sender = await _connect(path)
    began = time.perf_counter()
    for _ in range(broker.ALONE):
        await sender.ask("XADD", "alone", "*", "body", broker.BODY)
    rate = broker.ALONE / (time.perf_counter() - began)
    sender.close()
    return rate


async def _many(path: Path) -> float:
    senders = [await _connect(path) for _ in range(SENDERS)]

    async def send(index: int) -> None:
        for _ in range(broker.EACH):
            await senders[index].ask("XADD", f"to{index}", "*", "body", broker.BODY)

    began = time.perf_counter()
    await asyncio.gather(*map(send, range(SENDERS)))
    rate = SENDERS * broker.EACH / (time.perf_counter() - began)
    for sender in senders:
        sender.close()
    return rate


def main() -> int:
    """Print hive's figures and the peers'."""
    if shutil.which(REDIS) is None:
        sys.stderr.write(f"{REDIS} is missing: apt-get install redis-server\n")
        return 1
    for measured in (broker.measure, measure):
        for one in measured():
            sys.stdout.write(f"{one}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
