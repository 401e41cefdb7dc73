"""The harnesses' links as the reconciler sees them. api/lines/link.py reads the lines; every change is a hint.

Other processes of the agent can connect, too. One that says no hello changes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace

from meta.errors import HiveError
from meta.names import AgentName
from meta.wire.link import Cancel, Closed, Drain, Hello, Probe, Release, Released, Resume, State, TurnState
from reconciler.plan.observed import Launch, LinkView
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)
SEND_DEADLINE = 5.0
REPLACED = "another process of this agent said hello, and has the link now"
TAKEN = "the process that has this agent's link said hello as another launch"


@dataclass(slots=True)
class _Link:
    view: LinkView
    peer: LinkPeer | None = None
    greeted: bool = False
    draining: bool = False
    releasing: set[int] = field(default_factory=set)
    """The turns whose messages are being given back."""


class Links:
    """One link per agent. All methods run on the daemon's loop.

    `hint` is called with the agent after each change. `interrupt` is called when a drain begins, to end the `recv` that
    waits. `acks` is called after a hello, because a harness that sends a hello also acks its messages. `release` gives
    what a launch (its nonce) has in flight back to its inbox, and counts no failed turn.
    """

    def __init__(
        self,
        hint: Callable[[AgentName], None],
        interrupt: Callable[[AgentName], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        acks: Callable[[AgentName], Awaitable[None]] | None = None,
        release: Callable[[AgentName, str], Awaitable[object]] | None = None,
    ) -> None:
        self._hint = hint
        self._interrupt = interrupt
        self._acks = acks
        self._release = release
        self._clock = clock
        self._links: dict[AgentName, _Link] = {}
        self._changed: dict[AgentName, asyncio.Event] = {}
        self._probes = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def view(self, agent: AgentName) -> LinkView:
        """Return the link as it is. An agent that never connected has an empty link."""
        link = self._links.get(agent)
        return link.view if link else _NEVER

    def draining(self, agent: AgentName) -> bool:
        """Return True while the agent's `recv` must return nothing."""
        link = self._links.get(agent)
        return link.draining if link else False

    # called by the socket
    def connected(self, agent: AgentName, peer: LinkPeer) -> None:
        """Record that a peer connected. It takes the place of another one only with its hello."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        if link.peer is None:
            self._adopt(agent, link, peer)

    def hello(self, agent: AgentName, peer: LinkPeer, hello: Hello) -> None:
        """Record its hello. Send a probe at once, and the drain again if one is under way.

        Any process of the agent can say hello. The newest one that says the same as the harness has the link; the one
        before is told, and a harness connects again. One that says something else is sent away.
        """
        link = self._links.setdefault(agent, _Link(LinkView()))
        former, known = link.peer, (link.view.generation, link.view.nonce)
        if former is not None and former is not peer:
            if link.greeted and None not in known and known != (hello.generation, hello.nonce):
                self._send(peer, Closed(reason=TAKEN))
                return
            self._send(former, Closed(reason=REPLACED))
        if former is not peer:
            self._adopt(agent, link, peer)
        link.greeted = True
        same = (link.view.nonce, link.view.turn_number) == (hello.nonce, hello.turn)
        since = self._turn_since(link.view if same else _NEVER, hello.state, hello.seconds)
        view = replace(link.view, generation=hello.generation, nonce=hello.nonce, turn=hello.state, legacy_at=None)
        self._set(agent, replace(view, turn_since=since, turn_number=hello.turn))
        self._send(peer, Probe(probe=next(self._probes)))
        if self._acks is not None:
            self._spawn(self._note_acks(agent, self._acks))
        if link.draining:
            self._send(peer, Drain(deadline_seconds=0.0))

    def state(self, agent: AgentName, peer: LinkPeer, state: State) -> None:
        """Record a changed turn state or an answered probe."""
        link = self._current(agent, peer)
        if link is not None:
            answered = link.view.answered or state.probe is not None
            same = link.view.turn_number == state.turn
            since = self._turn_since(link.view if same else _NEVER, state.state)
            view = replace(link.view, turn=state.state, turn_since=since, turn_number=state.turn, answered=answered)
            self._set(agent, view)

    def release(self, agent: AgentName, peer: LinkPeer, release: Release) -> None:
        """Give the messages of its latest turn back, and answer. An earlier turn has none any more."""
        link = self._current(agent, peer)
        if link is None or link.view.nonce is None or self._release is None or link.view.turn_number != release.turn:
            return
        if release.turn not in link.releasing:
            link.releasing.add(release.turn)
            self._spawn(self._give_back(agent, link, peer, release.turn))

    def lost(self, agent: AgentName, peer: LinkPeer) -> None:
        """Record that the connection ended. It counts as a loss if it was a harness's, which said hello."""
        link = self._current(agent, peer)
        if link is not None:
            losses = link.view.losses + link.greeted
            link.peer, link.greeted = None, False
            self._set(agent, replace(link.view, connected=False, since=self._clock(), losses=losses, turn=None))

    def legacy(self, agent: AgentName) -> None:
        """Record a `recv` or `status` on the agent's mcp socket. It shows that a peer without a link is alive."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        if link.view.connected or link.view.nonce is not None:
            return
        first = link.view.legacy_at is None
        link.view = replace(link.view, legacy_at=self._clock())
        if first:
            self._hint(agent)

    def acked(self, agent: AgentName) -> None:
        """Record that a turn of this launch ended well: its messages were acknowledged."""
        link = self._links.get(agent)
        if link is not None and not link.view.acked:
            self._set(agent, replace(link.view, acked=True))

    def simulate(self, agent: AgentName, launch: Launch) -> None:
        """Record the hello and the answered probe of a fake container that started."""
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

    # called by the reconciler
    def reset(self, agent: AgentName) -> None:
        """Begin with a new launch. Drop the state of the former launch, and its drain."""
        link = self._links.get(agent)
        if link is not None:
            link.draining = False
            link.view = LinkView(connected=link.view.connected, since=self._clock())

    def forget(self, agent: AgentName) -> None:
        """Drop the link of an agent that was destroyed."""
        self._links.pop(agent, None)
        self._changed.pop(agent, None)

    async def drain(self, agent: AgentName, deadline: float) -> bool:
        """Request a drain and wait at most `deadline` seconds. Return False if the turn did not end in that time.

        The drain of this launch is over then: a harness that reconnects does not get another one.
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

    async def cancel_turn(self, agent: AgentName, seconds: float, number: int | None = None) -> bool:
        """Ask the harness to end its turn, and wait at most `seconds`. Return False if the turn goes on.

        With a number only that turn is meant, not one that begins meanwhile.
        """
        link = self._links.get(agent)
        if link is None or link.peer is None:
            return False
        try:
            async with asyncio.timeout(seconds):
                await link.peer.send(Cancel(turn=number))
                while _is_in(link.view, number):
                    changed = self._changed.setdefault(agent, asyncio.Event())
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return False
        return link.view.connected

    def skip_drain(self, agent: AgentName) -> None:
        """Make the next stop of this launch skip the drain: `--now` was given, or the drain is over."""
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
        """Cancel what is still being sent."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _turn_since(self, before: LinkView, turn: TurnState, seconds: float = 0.0) -> float | None:
        """Return when the turn began that a harness reports, in Unix seconds; None between turns.

        A turn goes on over a connection that broke. `seconds` is its age as the harness reports it.
        """
        if not turn.in_turn:
            return None
        return before.turn_since if before.turn_since is not None else self._clock() - seconds

    def _current(self, agent: AgentName, peer: LinkPeer) -> _Link | None:
        link = self._links.get(agent)
        return link if link is not None and link.peer is peer else None

    def _adopt(self, agent: AgentName, link: _Link, peer: LinkPeer) -> None:
        link.peer, link.greeted = peer, False
        self._set(agent, replace(link.view, connected=True, since=self._clock(), answered=False, turn=None))

    def _set(self, agent: AgentName, view: LinkView) -> None:
        if self._links[agent].view == view:
            return
        self._links[agent].view = view
        if agent in self._changed:
            self._changed[agent].set()
        self._hint(agent)

    def _send(self, peer: LinkPeer, line: Drain | Probe | Closed) -> None:
        self._spawn(self._deliver(peer, line))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back(self, agent: AgentName, link: _Link, peer: LinkPeer, turn: int) -> None:
        try:
            if self._release is not None and link.view.nonce is not None:
                await self._release(agent, link.view.nonce)
                await self._deliver(peer, Released(turn=turn))
        except HiveError as error:  # the harness gets no answer, and requeues
            log.warning("%s: cannot give messages back: %s", agent, error, extra={"limited": f"{agent} releases"})
        finally:
            link.releasing.discard(turn)

    async def _note_acks(self, agent: AgentName, acks: Callable[[AgentName], Awaitable[None]]) -> None:
        try:
            await acks(agent)
        except HiveError as error:
            log.warning("%s: cannot store that its harness acks: %s", agent, error, extra={"limited": f"{agent} acks"})

    async def _deliver(self, peer: LinkPeer, line: Drain | Probe | Closed | Released) -> None:
        try:
            async with asyncio.timeout(SEND_DEADLINE):
                await peer.send(line)
        except (TimeoutError, OSError) as error:
            log.info("a line to a harness was not delivered: %s", error, extra={"limited": "lines to harnesses"})


_NEVER = LinkView()


def _is_in(view: LinkView, number: int | None) -> bool:
    """Return True while the harness is in a turn: with a number, in that one."""
    return view.turn is not None and view.turn.in_turn and number in (None, view.turn_number)
