"""Stops that clients of a pod's socket ask for."""

from __future__ import annotations

import asyncio

from meta.errors import DiskFull
from meta.names import MANAGER, AgentName
from reconciler.observe.links import Links
from reconciler.observe.sender import Sender
from reconciler.pods.shutdowns import Shutdowns
from tests.support.link_peer import ALICE, Peer, connect


class Stops:
    """Records stops. Each waits until `go` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.stopped: set[AgentName] = set()
        self.go = asyncio.Event()
        self.error = error

    async def stop(self, agent: AgentName, by: str) -> None:
        self.asked.append((agent, by))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.stopped.add(agent)


def make(stops: Stops) -> tuple[Links, Shutdowns]:
    links = Links(lambda _: None)
    return links, Shutdowns(links, stops.stop, stops.stopped.__contains__, Sender())


async def turns_of_the_loop() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_flood_of_requests_is_one_stop_by_the_socket_of_the_agent() -> None:
    stops = Stops()
    links, shutdowns = make(stops)
    peer = connect(links)
    for _ in range(10_000):
        shutdowns.take(ALICE, peer)
    await turns_of_the_loop()
    stops.go.set()
    await turns_of_the_loop()
    for _ in range(10_000):
        shutdowns.take(ALICE, peer)
    await turns_of_the_loop()
    assert stops.asked == [(ALICE, f"pod.sock of {ALICE}")]


async def test_a_stop_that_failed_can_be_asked_for_again() -> None:
    stops = Stops(DiskFull("no room", "remove files"))
    links, shutdowns = make(stops)
    peer = connect(links)
    stops.go.set()
    for _ in range(2):
        shutdowns.take(ALICE, peer)
        await turns_of_the_loop()
    assert len(stops.asked) == 2


async def test_neither_a_peer_without_the_link_nor_the_managers_own_pod_stops_anything() -> None:
    stops = Stops()
    links, shutdowns = make(stops)
    connect(links)
    shutdowns.take(ALICE, Peer())
    own = Peer()
    links.connected(MANAGER, own)
    shutdowns.take(MANAGER, own)
    await turns_of_the_loop()
    assert stops.asked == []
