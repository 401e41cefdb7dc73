"""Requests of agents to be stopped: a client of an agent's `pod.sock` asked its pod to end.

Each becomes the desired state `stopped`, on the same path as the operator's stop. So the end of the agent is expected,
and it stays stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from meta.errors import HiveError
from meta.names import MANAGER, AgentName
from reconciler.observe.links import Links
from reconciler.observe.sender import Sender
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)

Stop = Callable[[AgentName, str], Awaitable[object]]
"""Records that an agent is stopped, and by whom. It raises HiveError."""


def asker(agent: AgentName) -> str:
    """Return by whom the stop is: nobody vouches for who connected to the socket."""
    return f"pod.sock of {agent}"


class Shutdowns:
    """The requests that are under way: one of each agent at a time. `is_stopped` tells what needs none."""

    def __init__(self, links: Links, stop: Stop, is_stopped: Callable[[AgentName], bool], sender: Sender) -> None:
        self._links = links
        self._stop = stop
        self._is_stopped = is_stopped
        self._sender = sender
        self._running: set[AgentName] = set()

    def take(self, agent: AgentName, peer: LinkPeer) -> None:
        """Stop the agent. The manager cannot stop itself, on its pod neither."""
        if self._links.peer(agent) is not peer or agent in self._running or self._is_stopped(agent):
            return
        if agent == MANAGER:
            log.warning("a client of the manager's pod.sock asks to stop it: only the operator does that", extra=_LIMIT)
            return
        self._running.add(agent)
        self._sender.start(self._do(agent))

    async def _do(self, agent: AgentName) -> None:
        try:
            await self._stop(agent, asker(agent))
        except HiveError as error:  # it runs on, and its client asks again
            log.warning("%s: cannot stop it as its pod.sock asks: %s", agent, error, extra=_LIMIT)
        finally:
            self._running.discard(agent)


_LIMIT = {"limited": "shutdowns by pod.sock"}
