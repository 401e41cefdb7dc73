"""The turns of the fake service: fixed answers, and records of what was asked for."""

from __future__ import annotations

from collections.abc import Callable

from meta.names import AgentName
from reconciler.views import ModelStatus, TurnResult


class FakeTurns:
    """The methods. `record` takes each command; `known` raises NotFound."""

    def __init__(self, known: Callable[[AgentName], None], record: Callable[[tuple[object, ...]], None]) -> None:
        self._known = known
        self._record = record

    async def pause(self, agent: AgentName, by: str) -> TurnResult:
        return self._done(agent, "pause", by, f"it takes no turn until `hive turn resume {agent}`")

    async def resume(self, agent: AgentName, by: str) -> TurnResult:
        return self._done(agent, "resume", by, "it takes turns again")

    async def cancel(self, agent: AgentName, by: str) -> TurnResult:
        return self._done(agent, "cancel", by, "turn 3 was ended")

    async def compact(self, agent: AgentName, by: str) -> TurnResult:
        return self._done(agent, "compact", by, "compacted: 120000 -> 9000 tokens \x1b[2J")

    async def new_session(self, agent: AgentName, by: str) -> TurnResult:
        return self._done(agent, "new-session", by, "")

    async def model(self, agent: AgentName) -> ModelStatus:
        self._known(agent)
        return ModelStatus(agent, "claude", "2.1.329", "haiku", "haiku", "opus")

    async def set_model(self, agent: AgentName, name: str | None, by: str) -> TurnResult:
        self._known(agent)
        self._record(("set_model", agent, name, by))
        return TurnResult(agent, "model", f"the next turn has {name or 'the approved model'}")

    def _done(self, agent: AgentName, verb: str, by: str, text: str) -> TurnResult:
        self._known(agent)
        self._record((f"turn {verb}", agent, by))
        return TurnResult(agent, verb, text)
