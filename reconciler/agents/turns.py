"""Commands about an agent's turns: pause, resume, cancel, compact, begin anew, and the model.

A pause is hive's will: it is recorded, and holds over restarts of the agent, of the daemon, and over deploys. The
others are asked of the harness, which does them.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from meta.errors import BadInput, Conflict, DiskFull
from meta.model import RunEntry
from meta.names import AgentName
from meta.text import one_line
from meta.wire.link import Verb
from reconciler.apply.effects import effect
from reconciler.loop.loop import Reconciler
from reconciler.observe.settings import DeployedSettings
from reconciler.proposals.deploys import Deploys
from reconciler.views import ModelStatus, TurnResult
from reconciler.world import World

log = logging.getLogger(__name__)
PAUSE_SECONDS = 10.0
"""Seconds that a pause waits for the end of the turn before it answers."""
SECONDS = {Verb.CANCEL: 20.0, Verb.COMPACT: 240.0, Verb.NEW_SESSION: 30.0, Verb.MODEL: 15.0}
"""Seconds within which a harness has to answer. To compact, the CLI calls its model."""
EVENTS = {
    Verb.CANCEL: "turn_cancelled",
    Verb.COMPACT: "session_compacted",
    Verb.NEW_SESSION: "session_begun",
    Verb.MODEL: "model_set",
}
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+\[\]-]{0,199}")


class Turns:
    """The commands about turns. `settings` has the agent.toml of each agent, as it is deployed."""

    def __init__(self, world: World, loop: Reconciler, deploys: Deploys, settings: DeployedSettings) -> None:
        self._world = world
        self._loop = loop
        self._deploys = deploys
        self._settings = settings

    async def pause(self, agent: AgentName, by: str) -> TurnResult:
        """Keep the agent from turns until it is resumed. Stop its turn: the messages of that come again."""
        await self._set(agent, True, by)
        links = self._world.links
        if not self._world.observer.observe(agent).container.running:
            return TurnResult(agent, "pause", "it does not run; once it is started, it takes no turn")
        if not await self._world.drains.wait_between_turns(agent, PAUSE_SECONDS):
            return TurnResult(agent, "pause", "its turn goes on: the harness has not stopped it yet")
        if links.view(agent).turn is None:
            return TurnResult(agent, "pause", "its harness is not connected: it stops its turn once it is")
        return TurnResult(agent, "pause", f"it takes no turn until `hive turn resume {agent}`")

    async def resume(self, agent: AgentName, by: str) -> TurnResult:
        """Let the agent take turns again."""
        await self._set(agent, False, by)
        hold = self._world.holds.of(agent)
        text = f"over its budget still: {hold.reason}" if hold.over_budget else "it takes turns again"
        return TurnResult(agent, "resume", text)

    async def cancel(self, agent: AgentName, by: str) -> TurnResult:
        """End the turn of the agent. The harness counts what it was about as done."""
        return await self._ask(agent, Verb.CANCEL, by)

    async def compact(self, agent: AgentName, by: str) -> TurnResult:
        """Compact the conversation of the agent. The event is appended only if that is done by now."""
        return await self._ask(agent, Verb.COMPACT, by)

    async def new_session(self, agent: AgentName, by: str) -> TurnResult:
        """Begin a new conversation with the agent's next turn."""
        return await self._ask(agent, Verb.NEW_SESSION, by)

    async def model(self, agent: AgentName) -> ModelStatus:
        """Return which model the agent's next turn has, and where that is set."""
        await self._deploys.entry(agent)
        about, settings = self._world.links.view(agent).about, await self._settings.of(agent)
        approved = settings.model if settings is not None else None
        if about is None:
            return ModelStatus(agent, approved=approved)
        return ModelStatus(
            agent, about.runtime, about.program, about.model, about.override or None, approved, about.problem
        )

    async def set_model(self, agent: AgentName, name: str | None, by: str) -> TurnResult:
        """Give the agent's next turns this model; None: that of agent.toml, or the runtime's default."""
        if name is not None and not _MODEL.fullmatch(name):
            raise BadInput(
                f"{one_line(name, 40)!r} is no name of a model", "letters, digits and . _ : / @ + [ ] -, at most 200"
            )
        return await self._ask(agent, Verb.MODEL, by, name or "")

    async def _set(self, agent: AgentName, paused: bool, by: str) -> None:
        await self._deploys.entry(agent)
        changed = False

        def change(run: RunEntry) -> RunEntry:
            nonlocal changed
            changed = run.paused != paused
            return replace(run, paused=paused)

        with effect("commit-run"):
            await self._world.meta.set_run(agent, change, by=by, at=self._world.now())
        await self._world.observer.desired(or_last=True)
        self._world.links.send_hold(agent)
        if changed:
            await self._append("agent_paused" if paused else "agent_resumed", agent, {"by": by})
        self._loop.look_now(agent)

    async def _ask(self, agent: AgentName, verb: Verb, by: str, text: str = "") -> TurnResult:
        await self._deploys.entry(agent)
        done = await self._world.links.control(agent, verb, text, SECONDS[verb])
        answer = one_line(done.text)
        if not done.ok:
            raise Conflict(f"{agent}: {answer or f'its harness refuses `{verb}`'}", "`hive status` shows what it does")
        if not done.changed and verb is Verb.COMPACT:
            return TurnResult(agent, str(verb), answer)
        facts: dict[str, str | None] = {"by": by, **({"model": text or None} if verb is Verb.MODEL else {})}
        await self._append(EVENTS[verb], agent, facts)
        return TurnResult(agent, str(verb), answer)

    async def _append(self, kind: str, agent: AgentName, facts: dict[str, str | None]) -> None:
        """Append the event of what is done already. On a full disk only log it."""
        try:
            await self._world.events.append(kind, agent, facts)
        except DiskFull as error:
            log.warning("%s: the event %s has no room: %s", agent, kind, error.summary)
