"""Waits for the end of turns: drains, and turns that hive ends or that a pause stops."""

from __future__ import annotations

import asyncio

from meta.names import AgentName
from meta.wire.link import Cancel, Drain, Resume, TurnState
from reconciler.observe.links import Links
from reconciler.plan.observed import LinkView

BETWEEN_TURNS = (TurnState.DRAINED, TurnState.PAUSED)
"""States that end a drain: the harness takes no turn until it is told to."""


class Drains:
    """The drains of all agents, over their links."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def drain(self, agent: AgentName, deadline: float) -> bool:
        """Request a drain and wait at most `deadline` seconds. Return False if the turn did not end in that time.

        The drain of this launch is over then: a harness that reconnects does not get another one.
        """
        peer = self._links.peer(agent)
        if peer is None:
            self.skip(agent)
            return True
        self._links.set_draining(agent, True)
        await peer.send(Drain(deadline_seconds=deadline))
        try:
            async with asyncio.timeout(deadline):
                while (view := self._links.view(agent)).connected and view.turn not in BETWEEN_TURNS:
                    await self._links.next_change(agent)
            return True
        except TimeoutError:
            return False
        finally:
            self.skip(agent)

    def skip(self, agent: AgentName) -> None:
        """Make the next stop of this launch skip the drain: `--now` was given, or the drain is over."""
        self._links.set_drain_over(agent, True)

    async def resume(self, agent: AgentName) -> None:
        """End a drain that was not followed by a stop."""
        if not self._links.draining(agent):
            return
        self._links.set_draining(agent, False)
        self._links.set_drain_over(agent, False)
        if (peer := self._links.peer(agent)) is not None:
            await peer.send(Resume())

    async def cancel_turn(self, agent: AgentName, seconds: float, number: int | None = None) -> bool:
        """Ask the harness to end its turn, and wait at most `seconds`. Return False if the turn goes on.

        With a number only that turn is meant, not one that begins meanwhile.
        """
        peer = self._links.peer(agent)
        if peer is None:
            return False
        try:
            async with asyncio.timeout(seconds):
                await peer.send(Cancel(turn=number))
                while _is_in(self._links.view(agent), number):
                    await self._links.next_change(agent)
        except TimeoutError:
            return False
        return self._links.view(agent).connected

    async def wait_between_turns(self, agent: AgentName, seconds: float) -> bool:
        """Wait at most `seconds` until the agent is in no turn. Return False if its turn goes on."""
        try:
            async with asyncio.timeout(seconds):
                while _is_in(self._links.view(agent), None):
                    await self._links.next_change(agent)
        except TimeoutError:
            return False
        return True


def _is_in(view: LinkView, number: int | None) -> bool:
    """Return True while the harness is in a turn: with a number, in that one."""
    return view.turn is not None and view.turn.in_turn and number in (None, view.turn_number)
