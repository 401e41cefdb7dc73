"""A name server for tests: answers A and AAAA queries from a table, and keeps what was asked.

with NameServer(sock, {"flip.example": ["93.184.216.34", "10.1.2.3"]}) as names:   # each answer is the next one
    names.asked        # ["flip.example", ...]
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

A, AAAA = 1, 28
_NO_SUCH_NAME = 3


class NameServer:
    """The server on a datagram socket, which it closes. The last address of a name is that of all later answers."""

    def __init__(self, sock: socket.socket, names: Mapping[str, Sequence[str]]) -> None:
        self.names = dict(names)
        self.asked: list[str] = []
        """The names of the A queries, in order."""
        self._uses: Counter[tuple[str, int]] = Counter()
        self._ended = threading.Event()
        self._socket = sock
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                query, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace"))
            at += 1 + length
        kind = struct.unpack_from("!H", query, at + 1)[0]
        question, name = query[12 : at + 5], ".".join(labels).lower()
        if kind == A:
            self.asked.append(name)
        data = self._data(name, kind)
        flags = 0x8180 | (0 if name in self.names else _NO_SUCH_NAME)
        head = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if data else 0, 0, 0)
        record = struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(data)) + data if data else b""
        return head + question + record

    def _data(self, name: str, kind: int) -> bytes:
        version = {A: 4, AAAA: 6}.get(kind)
        addresses = [each for each in self.names.get(name, ()) if ipaddress.ip_address(each).version == version]
        if not addresses:
            return b""
        use = self._uses[(name, kind)]
        self._uses[(name, kind)] += 1
        return ipaddress.ip_address(addresses[min(use, len(addresses) - 1)]).packed
