"""The harnesses' links as the reconciler sees them. api/lines/link.py reads the lines; every change is a hint.

Other processes of the agent can connect, too. One that says no hello changes nothing.

hive's will about turns (`Hold`) is the first line after each hello, because a harness takes messages once a line came.
It is sent again, whole, after each change.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from meta.errors import HiveError
from meta.names import AgentName
from meta.wire.link import (
    About,
    Closed,
    Done,
    Drain,
    Follow,
    Hello,
    Hold,
    Pods,
    Probe,
    State,
    TurnState,
    Verb,
)
from reconciler.observe import link_view
from reconciler.observe.controls import Controls
from reconciler.observe.holds import FREE, Holds
from reconciler.observe.live import Live, LiveLine
from reconciler.observe.sender import Sender
from reconciler.plan.observed import Launch, LinkView
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)
ASK_AGAIN_SECONDS = 5.0
"""Seconds until live events are asked for again that could not be recorded. They double each time."""
ASK_AGAIN_MOST = 120.0
"""Seconds at most. The rest of the agent's log comes each time."""
REPLACED = "another process of this agent said hello, and has the link now"
TAKEN = "the process that has this agent's link said hello as another launch"


@dataclass(slots=True)
class _Link:
    view: LinkView
    peer: LinkPeer | None = None
    greeted: bool = False
    draining: bool = False
    asking: bool = False
    """Live events are missing, and will be asked for again."""
    pause: float = ASK_AGAIN_SECONDS
    """Seconds until they are asked for the next time."""
    hold: Hold = FREE
    """The hold that was noted last. A harness that said hello has it."""


class Links:
    """One link per agent. All methods run on the daemon's loop.

    `hint` is called with the agent after each change. `interrupt` is called when a drain or a hold begins, to end the
    `recv` that waits. `acks` is called after a hello, because a harness that sends a hello also acks its messages.
    `holds` says what keeps agents from turns. `live` takes the live events.
    """

    def __init__(
        self,
        hint: Callable[[AgentName], None],
        interrupt: Callable[[AgentName], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        acks: Callable[[AgentName], Awaitable[None]] | None = None,
        holds: Holds | None = None,
        live: Live | None = None,
        sender: Sender | None = None,
    ) -> None:
        self._hint = hint
        self._interrupt = interrupt
        self._acks = acks
        self._live = live
        self._clock = clock
        self._holds = holds or Holds()
        self._sender = sender or Sender()
        self._controls = Controls()
        self._links: dict[AgentName, _Link] = {}
        self._changed: dict[AgentName, asyncio.Event] = {}
        self._probes = itertools.count(1)

    def view(self, agent: AgentName) -> LinkView:
        """Return the link as it is. An agent that never connected has an empty link."""
        link = self._links.get(agent)
        return link.view if link else link_view.NEVER

    def draining(self, agent: AgentName) -> bool:
        """Return True while the agent's `recv` must return nothing."""
        link = self._links.get(agent)
        return link.draining if link else False

    def peer(self, agent: AgentName) -> LinkPeer | None:
        """Return the process that has the link, also if it said no hello yet."""
        link = self._links.get(agent)
        return link.peer if link else None

    async def next_change(self, agent: AgentName) -> None:
        """Wait until something about the agent's link changes."""
        changed = self._changed.setdefault(agent, asyncio.Event())
        changed.clear()
        await changed.wait()

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
                self._sender.send(peer, Closed(reason=TAKEN))
                return
            self._sender.send(former, Closed(reason=REPLACED))
        if former is not peer:
            self._adopt(agent, link, peer)
        link.greeted = True
        self._set(agent, link_view.greeted(link.view, hello, self._clock()))
        link.hold = self._holds.of(agent)
        drain = (Drain(deadline_seconds=0.0),) if link.draining else ()
        self._sender.send(peer, link.hold, Probe(probe=next(self._probes)), *drain)
        if self._live is not None and (after := self._live.begin(agent, hello)) is not None:
            self._sender.send(peer, Follow(after=after))
        if self._acks is not None:
            self._sender.start(self._note_acks(agent, self._acks))

    def state(self, agent: AgentName, peer: LinkPeer, state: State) -> None:
        """Record a changed turn state or an answered probe."""
        link = self._current(agent, peer)
        if link is not None:
            self._set(agent, link_view.changed(link.view, state, self._clock()))

    def about(self, agent: AgentName, peer: LinkPeer, about: About) -> None:
        """Record which runtime the harness drives."""
        link = self._current(agent, peer)
        if link is not None:
            self._set(agent, link_view.described(link.view, about))

    def pods(self, agent: AgentName, peer: LinkPeer, pods: Pods) -> None:
        """Record which pods the agent has."""
        link = self._current(agent, peer)
        if link is not None:
            self._set(agent, link_view.with_pods(link.view, pods))

    def done(self, agent: AgentName, peer: LinkPeer, done: Done) -> None:
        """Record the answer to a control. One that nobody waits for changes nothing."""
        if self._current(agent, peer) is not None:
            self._controls.answer(agent, done)

    async def event(self, agent: AgentName, peer: LinkPeer, event: LiveLine) -> None:
        """Take a live event of the process that has the link."""
        link = self._current(agent, peer)
        if self._live is None or link is None:
            return
        await self._live.take(agent, event)
        if self._live.missing_after(agent) is None:
            link.pause = ASK_AGAIN_SECONDS
        elif not link.asking:
            link.asking = True
            self._sender.start(self._ask_again(agent, link, peer, self._live))

    def lost(self, agent: AgentName, peer: LinkPeer) -> None:
        """Record that the connection ended. It counts as a loss if it was a harness's, which said hello."""
        link = self._current(agent, peer)
        if link is not None:
            view = link_view.lost(link.view, self._clock(), greeted=link.greeted)
            link.peer, link.greeted = None, False
            self._set(agent, view)
            self._controls.fail(agent)

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

    def set_draining(self, agent: AgentName, draining: bool) -> None:
        """Record that a drain is requested, or that it is not wanted any more. The `recv` that waits ends."""
        link = self._links.get(agent)
        if link is None or link.draining == draining:
            return
        link.draining = draining
        self._hint(agent)
        if draining:
            self._interrupt(agent)

    def set_drain_over(self, agent: AgentName, over: bool) -> None:
        """Record whether the next stop of this launch skips the drain."""
        link = self._links.setdefault(agent, _Link(LinkView()))
        self._set(agent, replace(link.view, drain_over=over))

    def forget(self, agent: AgentName) -> None:
        """Drop the link of an agent that was destroyed."""
        self._links.pop(agent, None)
        self._changed.pop(agent, None)
        self._holds.clear_over_budget(agent)
        self._controls.fail(agent)

    async def control(self, agent: AgentName, verb: Verb, text: str = "", seconds: float = 30.0) -> Done:
        """Ask the harness for `verb`, and return its answer.

        Raise Conflict if no harness is connected, TransientError if it does not answer within `seconds`.
        """
        link = self._links.get(agent)
        peer = link.peer if link is not None and link.greeted else None
        is_old = link is None or link.view.about is None
        return await self._controls.ask(agent, peer, verb, text, seconds, is_old=is_old)

    # what keeps agents from turns
    def held(self, agent: AgentName) -> bool:
        """Return True while no message may be delivered to the agent."""
        hold = self._holds.of(agent)
        return hold.paused or hold.over_budget

    def send_hold(self, agent: AgentName) -> None:
        """Send the hold again if it changed since it was sent. End the `recv` that waits if the agent is held now."""
        link, hold = self._links.get(agent), self._holds.of(agent)
        if link is None or link.hold == hold:
            return
        link.hold = hold
        if link.peer is not None and link.greeted:
            self._sender.send(link.peer, hold)
        if hold.paused or hold.over_budget:
            self._interrupt(agent)
        self._note_change(agent)
        self._hint(agent)

    async def wait_until_free(self, agent: AgentName, seconds: float) -> bool:
        """Wait at most `seconds` until nothing holds the agent. Return False if it is still held, or drained."""
        try:
            async with asyncio.timeout(seconds):
                while self.held(agent) and not self.draining(agent):
                    await self.next_change(agent)
        except TimeoutError:
            return False
        return not self.draining(agent)

    async def close(self) -> None:
        """Cancel what is still being sent."""
        await self._sender.close()

    def _current(self, agent: AgentName, peer: LinkPeer) -> _Link | None:
        link = self._links.get(agent)
        return link if link is not None and link.peer is peer else None

    def _adopt(self, agent: AgentName, link: _Link, peer: LinkPeer) -> None:
        link.peer, link.greeted = peer, False
        self._set(agent, link_view.connected(link.view, self._clock()))
        self._controls.fail(agent)

    def _set(self, agent: AgentName, view: LinkView) -> None:
        if self._links[agent].view == view:
            return
        self._links[agent].view = view
        self._note_change(agent)
        self._hint(agent)

    def _note_change(self, agent: AgentName) -> None:
        if agent in self._changed:
            self._changed[agent].set()

    async def _ask_again(self, agent: AgentName, link: _Link, peer: LinkPeer, live: Live) -> None:
        await asyncio.sleep(link.pause)
        link.asking = False
        link.pause = min(2 * link.pause, ASK_AGAIN_MOST)
        if link.peer is peer and (after := live.missing_after(agent)) is not None:
            await self._sender.deliver(peer, Follow(after=after))

    async def _note_acks(self, agent: AgentName, acks: Callable[[AgentName], Awaitable[None]]) -> None:
        try:
            await acks(agent)
        except HiveError as error:
            log.warning("%s: cannot store that its harness acks: %s", agent, error, extra={"limited": f"{agent} acks"})
