"""A harness's end of a link without a socket, and the hello by which it gets the link."""

from __future__ import annotations

import asyncio

from meta.names import AgentName
from meta.wire.link import DownLine, Hello
from reconciler.observe.links import Links

ALICE = AgentName("alice")


class Peer:
    """Collects what is sent down."""

    def __init__(self) -> None:
        self.sent: list[DownLine] = []
        self.told = asyncio.Event()

    async def send(self, line: DownLine) -> None:
        self.sent.append(line)
        self.told.set()


def connect(links: Links, nonce: str = "n") -> Peer:
    """Connect a harness of alice that says hello."""
    peer = Peer()
    links.connected(ALICE, peer)
    links.hello(ALICE, peer, Hello(generation="g", nonce=nonce))
    return peer
