"""The harnesses' links as the reconciler sees them. The lines come in by api/lines/link.py; every change is a hint."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace

from meta.errors import HiveError
from meta.names import AgentName
from meta.wire.link import Drain, Hello, Probe, Resume, State, TurnState
from reconciler.plan.observed import Launch, LinkView
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)
SEND_DEADLINE = 5.0


@dataclass(slots=True)
class _Link:
    view: LinkView
    peer: LinkPeer | None = None
    draining: bool = False


class Links:
    """One link per agent. All methods run on the daemon's loop.

    `hint` is called with the agent after each change, `interrupt` to end its waiting `recv` when a drain begins, `acks`
    when its harness has said hello: one that does that also acks its messages.
    """

    def __init__(
        self,
        hint: Callable[[AgentName], None],
        interrupt: Callable[[AgentName], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        acks: Callable[[AgentName], Awaitable[None]] | None = None,
    ) -> None:
        self._hint = hint
        self._interrupt = interrupt
        self._acks = acks
        self._clock = clock
        self._links: dict[AgentName, _Link] = {}
        self._changed: dict[AgentName, asyncio.Event] = {}
        self._probes = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def view(self, agent: AgentName) -> LinkView:
        """The link as it is; an agent that was never heard of is not connected since ever."""
        link = self._links.get(agent)
        return link.view if link else _NEVER

    def draining(self, agent: AgentName) -> bool:
        """True while the agent's `recv` must come back empty."""
        link = self._links.get(agent)
        return link.draining if link else False

    # what the socket reports
    def connected(self, agent: AgentName, peer: LinkPeer) -> None:
        """A harness connected; a second connection replaces the first."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        link.peer = peer
        self._set(agent, replace(link.view, connected=True, since=self._clock(), answered=False, turn=None))

    def hello(self, agent: AgentName, peer: LinkPeer, hello: Hello) -> None:
        """It said who it is; a probe goes out at once, and the drain again if one is under way."""
        link = self._current(agent, peer)
        if link is None:
            return
        view = replace(link.view, generation=hello.generation, nonce=hello.nonce, turn=hello.state, legacy_at=None)
        self._set(agent, view)
        self._send(peer, Probe(probe=next(self._probes)))
        if self._acks is not None:
            self._spawn(self._note_acks(agent, self._acks))
        if link.draining:
            self._send(peer, Drain(deadline_seconds=0.0))

    def state(self, agent: AgentName, peer: LinkPeer, state: State) -> None:
        """The turn state changed, or a probe was answered."""
        link = self._current(agent, peer)
        if link is not None:
            answered = link.view.answered or state.probe is not None
            self._set(agent, replace(link.view, turn=state.state, answered=answered))

    def lost(self, agent: AgentName, peer: LinkPeer) -> None:
        """The connection ended."""
        link = self._current(agent, peer)
        if link is not None:
            link.peer = None
            view = link.view
            self._set(agent, replace(view, connected=False, since=self._clock(), losses=view.losses + 1, turn=None))

    def legacy(self, agent: AgentName) -> None:
        """`recv` or `status` came in on the agent's mcp socket: proof of life of a peer that has no link."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        if link.view.connected or link.view.nonce is not None:
            return
        first = link.view.legacy_at is None
        link.view = replace(link.view, legacy_at=self._clock())
        if first:
            self._hint(agent)

    def simulate(self, agent: AgentName, launch: Launch) -> None:
        """A fake container started: its harness says hello at once and answers every probe."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        link.view = LinkView(
            connected=True,
            since=self._clock(),
            generation=launch.generation,
            nonce=launch.nonce,
            turn=TurnState.IDLE,
            answered=True,
        )
        self._hint(agent)

    # what the reconciler wants
    def reset(self, agent: AgentName) -> None:
        """A new launch begins: what the former one did does not count, and nobody is draining."""
        link = self._links.get(agent)
        if link is not None:
            link.draining = False
            link.view = LinkView(connected=link.view.connected, since=self._clock())

    def forget(self, agent: AgentName) -> None:
        """The agent is gone."""
        self._links.pop(agent, None)
        self._changed.pop(agent, None)

    async def drain(self, agent: AgentName, deadline: float) -> bool:
        """Ask for a drain and wait for it, at most `deadline` seconds. False: it did not get there in time.

        Either way the drain of this launch is over: a harness that connects anew or lies does not get another one.
        """
        link = self._links.get(agent)
        if link is None or link.peer is None:
            self.skip_drain(agent)
            return True
        link.draining = True
        self._hint(agent)
        self._interrupt(agent)
        await link.peer.send(Drain(deadline_seconds=deadline))
        try:
            async with asyncio.timeout(deadline):
                while link.view.connected and link.view.turn is not TurnState.DRAINED:
                    changed = self._changed.setdefault(agent, asyncio.Event())
                    changed.clear()
                    await changed.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self.skip_drain(agent)

    def skip_drain(self, agent: AgentName) -> None:
        """The next stop of this launch does not wait for a turn to end (`--now`, or the drain is over)."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        self._set(agent, replace(link.view, drain_over=True))

    async def resume(self, agent: AgentName) -> None:
        """End a drain that was not followed by a stop."""
        link = self._links.get(agent)
        if link is not None and link.draining:
            link.draining = False
            link.view = replace(link.view, drain_over=False)
            if link.peer is not None:
                await link.peer.send(Resume())

    async def close(self) -> None:
        """Await what is still being sent."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _current(self, agent: AgentName, peer: LinkPeer) -> _Link | None:
        link = self._links.get(agent)
        return link if link is not None and link.peer is peer else None

    def _set(self, agent: AgentName, view: LinkView) -> None:
        if self._links[agent].view == view:
            return
        self._links[agent].view = view
        if agent in self._changed:
            self._changed[agent].set()
        self._hint(agent)

    def _send(self, peer: LinkPeer, line: Drain | Probe) -> None:
        self._spawn(self._deliver(peer, line))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note_acks(self, agent: AgentName, acks: Callable[[AgentName], Awaitable[None]]) -> None:
        try:
            await acks(agent)
        except HiveError as error:
            log.warning("%s: that its harness acks is not kept: %s", agent, error)

    async def _deliver(self, peer: LinkPeer, line: Drain | Probe) -> None:
        try:
            async with asyncio.timeout(SEND_DEADLINE):
                await peer.send(line)
        except (TimeoutError, OSError) as error:
            log.info("a line to a harness was not delivered: %s", error)


_NEVER = LinkView()
