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
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace

from meta.errors import HiveError
from meta.names import AgentName
from meta.text import one_line
from meta.wire.link import (
    About,
    Cancel,
    Closed,
    Done,
    DownLine,
    Drain,
    Follow,
    Hello,
    Hold,
    Probe,
    Release,
    Released,
    Resume,
    State,
    TurnState,
    Verb,
)
from reconciler.observe.controls import Controls
from reconciler.observe.holds import FREE, REASON_LIMIT, Holds
from reconciler.observe.live import Given, Live
from reconciler.plan.observed import Launch, LinkView
from reconciler.ports import LinkPeer

log = logging.getLogger(__name__)
SEND_DEADLINE = 5.0
ASK_AGAIN_SECONDS = 5.0
"""Seconds until live events are asked for again that could not be recorded."""
REPLACED = "another process of this agent said hello, and has the link now"
BETWEEN_TURNS = (TurnState.DRAINED, TurnState.PAUSED)
"""States that end a drain: the harness takes no turn until it is told to."""
TAKEN = "the process that has this agent's link said hello as another launch"


@dataclass(slots=True)
class _Link:
    view: LinkView
    peer: LinkPeer | None = None
    greeted: bool = False
    draining: bool = False
    releasing: set[Release] = field(default_factory=set)
    """What is being given back."""
    asking: bool = False
    """Live events are missing, and will be asked for again."""
    hold: Hold = FREE
    """The hold that was noted last. A harness that said hello has it."""


class Links:
    """One link per agent. All methods run on the daemon's loop.

    `hint` is called with the agent after each change. `interrupt` is called when a drain begins, to end the `recv` that
    waits. `acks` is called after a hello, because a harness that sends a hello also acks its messages. `release` gives
    what a launch (its nonce) has in flight back to its inbox, or only the messages with these ids, and counts no failed
    turn. `holds` says what keeps agents from turns. `live` takes the live events.
    """

    def __init__(
        self,
        hint: Callable[[AgentName], None],
        interrupt: Callable[[AgentName], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        acks: Callable[[AgentName], Awaitable[None]] | None = None,
        release: Callable[[AgentName, str, Sequence[int] | None], Awaitable[object]] | None = None,
        holds: Holds | None = None,
        live: Live | None = None,
    ) -> None:
        self._hint = hint
        self._interrupt = interrupt
        self._acks = acks
        self._release = release
        self._live = live
        self._clock = clock
        self._holds = holds or Holds()
        self._controls = Controls()
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
        about = link.view.about if link.view.nonce == hello.nonce else None
        view = replace(link.view, generation=hello.generation, nonce=hello.nonce, turn=hello.state, legacy_at=None)
        view = replace(view, turn_since=since, turn_number=hello.turn, about=about, until=hello.until)
        waits = one_line(hello.reason, REASON_LIMIT)
        self._set(agent, replace(view, state_since=self._clock() - hello.seconds, reason=waits))
        link.hold = self._holds.of(agent)
        drain = (Drain(deadline_seconds=0.0),) if link.draining else ()
        self._send(peer, link.hold, Probe(probe=next(self._probes)), *drain)
        if self._live is not None and (after := self._live.begin(agent, hello)) is not None:
            self._send(peer, Follow(after=after))
        if self._acks is not None:
            self._spawn(self._note_acks(agent, self._acks))

    def state(self, agent: AgentName, peer: LinkPeer, state: State) -> None:
        """Record a changed turn state or an answered probe."""
        link = self._current(agent, peer)
        if link is not None:
            answered = link.view.answered or state.probe is not None
            same = link.view.turn_number == state.turn
            since = self._turn_since(link.view if same else _NEVER, state.state)
            view = replace(link.view, turn=state.state, turn_since=since, turn_number=state.turn, answered=answered)
            began, waits = self._state_since(link.view, state), one_line(state.reason, REASON_LIMIT)
            self._set(agent, replace(view, state_since=began, until=state.until, reason=waits))

    def about(self, agent: AgentName, peer: LinkPeer, about: About) -> None:
        """Record which runtime the harness drives. Each text becomes one line, because it is the agent's."""
        link = self._current(agent, peer)
        if link is not None:
            texts = {key: one_line(text) for key, text in about.model_dump(exclude={"up"}).items()}
            self._set(agent, replace(link.view, about=about.model_copy(update=texts)))

    def done(self, agent: AgentName, peer: LinkPeer, done: Done) -> None:
        """Record the answer to a control. One that nobody waits for changes nothing."""
        if self._current(agent, peer) is not None:
            self._controls.answer(agent, done)

    def release(self, agent: AgentName, peer: LinkPeer, release: Release) -> None:
        """Give the messages of its latest turn back, and answer. An earlier turn has none any more."""
        link = self._current(agent, peer)
        if link is None or link.view.nonce is None or self._release is None or link.view.turn_number != release.turn:
            return
        if release not in link.releasing:
            link.releasing.add(release)
            self._spawn(self._give_back(agent, link, peer, release))

    async def event(self, agent: AgentName, peer: LinkPeer, event: Given) -> None:
        """Take a live event of the process that has the link."""
        link = self._current(agent, peer)
        if self._live is None or link is None:
            return
        await self._live.take(agent, event)
        if self._live.missing_after(agent) is not None and not link.asking:
            link.asking = True
            self._spawn(self._ask_again(agent, link, peer, self._live))

    def lost(self, agent: AgentName, peer: LinkPeer) -> None:
        """Record that the connection ended. It counts as a loss if it was a harness's, which said hello."""
        link = self._current(agent, peer)
        if link is not None:
            losses = link.view.losses + link.greeted
            link.peer, link.greeted = None, False
            view = replace(link.view, connected=False, since=self._clock(), losses=losses, turn=None)
            self._set(agent, replace(view, state_since=None, until=None, reason=""))
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

    def forget(self, agent: AgentName) -> None:
        """Drop the link of an agent that was destroyed."""
        self._links.pop(agent, None)
        self._changed.pop(agent, None)
        self._holds.clear_over_budget(agent)
        self._controls.fail(agent)

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
                while link.view.connected and link.view.turn not in BETWEEN_TURNS:
                    await self._next_change(agent)
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
                    await self._next_change(agent)
        except TimeoutError:
            return False
        return link.view.connected

    async def control(self, agent: AgentName, verb: Verb, text: str = "", seconds: float = 30.0) -> Done:
        """Ask the harness for `verb`, and return its answer.

        Raise Conflict if no harness is connected, TransientError if it does not answer within `seconds`.
        """
        link = self._links.get(agent)
        peer = link.peer if link is not None and link.greeted else None
        is_old = link is None or link.view.about is None
        return await self._controls.ask(agent, peer, verb, text, seconds, is_old=is_old)

    # what keeps agents from turns
    def hold(self, agent: AgentName) -> Hold:
        """Return what keeps the agent from turns by hive's will."""
        return self._holds.of(agent)

    def held(self, agent: AgentName) -> bool:
        """Return True while no message may be delivered to the agent."""
        hold = self._holds.of(agent)
        return hold.paused or hold.over_budget

    def set_over_budget(self, agent: AgentName, until: float | None, reason: str) -> None:
        """Keep the agent from its next turn until the Unix time `until`, because its budget is used up."""
        self._holds.set_over_budget(agent, until, reason)
        self.send_hold(agent)

    def clear_over_budget(self, agent: AgentName) -> None:
        """Let the agent take turns again, as far as its budget is concerned."""
        self._holds.clear_over_budget(agent)
        self.send_hold(agent)

    def send_hold(self, agent: AgentName) -> None:
        """Send the hold again if it changed since it was sent. End the `recv` that waits if the agent is held now."""
        link, hold = self._links.get(agent), self._holds.of(agent)
        if link is None or link.hold == hold:
            return
        link.hold = hold
        if link.peer is not None and link.greeted:
            self._send(link.peer, hold)
        if hold.paused or hold.over_budget:
            self._interrupt(agent)
        self._note_change(agent)
        self._hint(agent)

    async def wait_until_free(self, agent: AgentName, seconds: float) -> bool:
        """Wait at most `seconds` until nothing holds the agent. Return False if it is still held, or drained."""
        try:
            async with asyncio.timeout(seconds):
                while self.held(agent) and not self.draining(agent):
                    await self._next_change(agent)
        except TimeoutError:
            return False
        return not self.draining(agent)

    async def wait_between_turns(self, agent: AgentName, seconds: float) -> bool:
        """Wait at most `seconds` until the agent is in no turn. Return False if its turn goes on."""
        try:
            async with asyncio.timeout(seconds):
                while _is_in(self.view(agent), None):
                    await self._next_change(agent)
        except TimeoutError:
            return False
        return True

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

    def _state_since(self, before: LinkView, state: State) -> float:
        """Return when a reported state began, in Unix seconds. It began no later than now."""
        if state.since is not None:
            return min(state.since, self._clock())
        return before.state_since if before.turn is state.state and before.state_since else self._clock()

    def _current(self, agent: AgentName, peer: LinkPeer) -> _Link | None:
        link = self._links.get(agent)
        return link if link is not None and link.peer is peer else None

    def _adopt(self, agent: AgentName, link: _Link, peer: LinkPeer) -> None:
        link.peer, link.greeted = peer, False
        view = replace(link.view, connected=True, since=self._clock(), answered=False, turn=None)
        self._set(agent, replace(view, state_since=None, until=None, reason=""))
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

    async def _next_change(self, agent: AgentName) -> None:
        changed = self._changed.setdefault(agent, asyncio.Event())
        changed.clear()
        await changed.wait()

    def _send(self, peer: LinkPeer, *lines: DownLine) -> None:
        """Send lines in this order, without waiting."""
        self._spawn(self._deliver(peer, *lines))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back(self, agent: AgentName, link: _Link, peer: LinkPeer, release: Release) -> None:
        try:
            if self._release is not None and link.view.nonce is not None:
                await self._release(agent, link.view.nonce, release.only)
                await self._deliver(peer, Released(turn=release.turn))
        except HiveError as error:  # the harness gets no answer, and asks again
            log.warning("%s: cannot give messages back: %s", agent, error, extra={"limited": f"{agent} releases"})
        finally:
            link.releasing.discard(release)

    async def _ask_again(self, agent: AgentName, link: _Link, peer: LinkPeer, live: Live) -> None:
        await asyncio.sleep(ASK_AGAIN_SECONDS)
        link.asking = False
        if link.peer is peer and (after := live.missing_after(agent)) is not None:
            await self._deliver(peer, Follow(after=after))

    async def _note_acks(self, agent: AgentName, acks: Callable[[AgentName], Awaitable[None]]) -> None:
        try:
            await acks(agent)
        except HiveError as error:
            log.warning("%s: cannot store that its harness acks: %s", agent, error, extra={"limited": f"{agent} acks"})

    async def _deliver(self, peer: LinkPeer, *lines: DownLine) -> None:
        try:
            for line in lines:
                async with asyncio.timeout(SEND_DEADLINE):
                    await peer.send(line)
        except (TimeoutError, OSError) as error:
            log.info("a line to a harness was not delivered: %s", error, extra={"limited": "lines to harnesses"})


_NEVER = LinkView()


def _is_in(view: LinkView, number: int | None) -> bool:
    """Return True while the harness is in a turn: with a number, in that one."""
    return view.turn is not None and view.turn.in_turn and number in (None, view.turn_number)
