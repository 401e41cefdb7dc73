"""What harnesses give back of their turns, for an outage, a limit or a missing login: no failed turn is counted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from meta.errors import HiveError
from meta.names import AgentName
from meta.wire.link import Release, Released
from reconciler.observe.links import Links
from reconciler.observe.sender import Sender
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)

GiveBack = Callable[[AgentName, str, Sequence[int] | None], Awaitable[object]]
"""Gives what a launch (its nonce) has in flight back to its inbox, or only the messages with these ids.

It raises HiveError if one of these is still in flight then: the harness would acknowledge it unseen.
"""


class Releases:
    """The releases that are under way. `give_back` does them."""

    def __init__(self, links: Links, give_back: GiveBack, sender: Sender) -> None:
        self._links = links
        self._give_back = give_back
        self._sender = sender
        self._running: set[tuple[AgentName, str, Release]] = set()

    def take(self, agent: AgentName, peer: LinkPeer, release: Release) -> None:
        """Give the messages of its latest turn back, and answer. An earlier turn has none any more."""
        view = self._links.view(agent)
        if self._links.peer(agent) is not peer or view.nonce is None or view.turn_number != release.turn:
            return
        key = (agent, view.nonce, release)
        if key not in self._running:
            self._running.add(key)
            self._sender.start(self._do(key, peer))

    async def _do(self, key: tuple[AgentName, str, Release], peer: LinkPeer) -> None:
        agent, nonce, release = key
        try:
            await self._give_back(agent, nonce, release.only)
            await self._sender.deliver(peer, Released(turn=release.turn, only=release.only))
        except HiveError as error:  # the harness gets no answer, and asks again or requeues
            log.warning("%s: cannot give messages back: %s", agent, error, extra={"limited": f"{agent} releases"})
        finally:
            self._running.discard(key)
