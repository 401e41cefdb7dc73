"""`--wait`: follow the work that a request started to its end, and print on stderr what happens meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from api.cli.client.exit_codes import Failed, Interrupted, TimedOut
from api.cli.client.http import Client, Event, Row
from api.cli.client.patience import LOST, Following, Patience
from api.cli.render import console
from api.words import texts
from api.words.events import describe
from meta.errors import NotFound
from meta.text import command_line
from reconciler.plan.phases import GIVEN_UP

TICK = 1.0
"""Seconds after which the daemon is asked again without an event: events are hints, its answer decides."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The values of --wait and --timeout: wait for the end, for at most this many seconds."""

    on: bool
    seconds: float


class Follower:
    """The events of one agent since before the request was made. A restart of the daemon ends no wait."""

    def __init__(self, client: Client, agent: str | None, events: Following, seconds: float) -> None:
        self._client = client
        self._agent = agent
        self._id: int | None = None
        self._is_requested = False
        self._events = events
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._last_line = ""

    def about(self, agent: str, id: int) -> None:
        """Set the agent and the id of the deploy, for a request whose answer names them."""
        self._agent = agent
        self._id = id

    def interrupted(self) -> Interrupted:
        """Return the error of a Ctrl-C: it names what goes on, and the command that shows it."""
        look = f"`{command_line('hive', 'plan', *([self._agent] if self._agent else []))}` shows how far it is"
        if not self._is_requested:
            return Interrupted("interrupted; hive may have got the request already", look)
        if self._id is None:
            return Interrupted("interrupted; the work goes on", look)
        cancel = f"`hive cancel {self._id}` cancels it"
        return Interrupted(f"interrupted; the deploy of {self._id} for {self._agent} goes on", f"{look}, {cancel}")

    def until(self, ended: Callable[[], bool]) -> None:
        """Wait until `ended` returns True (it may raise Failed). Raise TimedOut at the deadline."""
        self._is_requested = True
        while not self._has(ended):
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                about = f"`hive plan {self._agent}`" if self._agent else "`hive plan`"
                raise TimedOut(f"not done after {self._seconds:g} s; the work goes on", f"see {about}, or wait longer")
            event = self._events.next(min(TICK, remaining))
            if event is not None:
                self._show(event)

    def _has(self, ended: Callable[[], bool]) -> bool:
        """Return what `ended` does; False while the daemon is away."""
        try:
            result = ended()
        except LOST as error:
            self._events.patience.wait(error, self._deadline - time.monotonic())
            return False
        self._events.patience.end()
        return result

    def until_settled(self, up: frozenset[str] | None = None) -> None:
        """Wait until the agent's plan is empty. With `up`, raise Failed if the agent ends in another phase."""

        def ended() -> bool:
            row = self.plan()
            if row is None:
                return True
            if up is not None and row["phase"] in GIVEN_UP:
                about = (
                    "see `hive status`" if row["reason"].startswith("its spawn") else f"see `hive logs {self._agent}`"
                )
                raise Failed(f"{self._agent} is {row['phase']}: {row['reason']}", about)
            if row["step"] != "none":
                return False
            if up is not None and row["phase"] not in up:
                raise Failed(f"{self._agent} ended as {row['phase']}: {row['reason']}", "see `hive status`")
            return True

        self.until(ended)

    def until_all_settled(self, agents: Collection[str]) -> dict[str, Row]:
        """Wait until the plans of these agents are empty. Return their rows; one that is gone has none."""
        rows: dict[str, Row] = {}

        def ended() -> bool:
            rows.clear()
            rows.update({row["agent"]: row for row in self._client.rows("/api/plan") if row["agent"] in agents})
            return all(row["step"] == "none" for row in rows.values())

        self.until(ended)
        return rows

    def plan(self) -> Row | None:
        """Return the agent's row of the plan, and print it if its step changed; None if there is no such agent."""
        try:
            rows = self._client.rows("/api/plan", {"agent": self._agent})
        except NotFound:
            return None
        if not rows or (rows[0]["phase"] == "absent" and rows[0]["step"] == "none"):
            return None
        row = rows[0]
        line = f"{row['agent']}: {row['step']}, {row['reason']}"
        if row["step"] != "none" and line != self._last_line:
            self._last_line = line
            console.progress(f"  {line}")
        return row

    def _show(self, event: Event) -> None:
        data = event.data
        if event.kind not in ("ready", "resync") and (self._agent is None or data.get("agent") == self._agent):
            console.progress(f"  {describe(event.kind, data)}")


@contextlib.contextmanager
def follow(client: Client, agent: str | None, waits: Waits) -> Iterator[Follower | None]:
    """Open the event stream before the request, so that no event is missed. Yield None without --wait."""
    if not waits.on:
        yield None
        return
    with Following(client, patience=Patience()) as events:
        follower = Follower(client, agent, events, waits.seconds)
        try:
            yield follower
        except KeyboardInterrupt:
            raise follower.interrupted() from None


def remedy(card: Row) -> str:
    """Return what to do about a failed deploy.

    A failed spawn leaves no agent, so there is no container whose logs could help.
    """
    id, agent = card["id"], card["agent"]
    if card.get("stale"):
        return str(card["stale"])
    if card["kind"] == "spawn":
        return f"`hive diff {id} --agent {agent}` shows its last lines, `hive spawn {agent}` tries again"
    return f"see `hive diff {id}` and `hive logs {agent}`"


def deployed(client: Client, follower: Follower, id: int, agent: str) -> Row:
    """Wait for the end of one id. Return its card if it is deployed; raise Failed with its note otherwise."""
    last: Row = {}

    def ended() -> bool:
        last.clear()
        last.update(client.row(f"/api/proposals/{id}", {"agent": agent}))
        follower.plan()
        return last.get("state") in ("deployed", "failed", "denied")

    follower.until(ended)
    if last["state"] != "deployed":
        why = texts.first_line(last.get("note")) or "no reason was recorded"
        raise Failed(f"{id} of {agent} is {last['state']}: {why}", remedy(last))
    return last
