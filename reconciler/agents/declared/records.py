"""What is kept of the declared agents in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from meta.desired.declared_files import DeclaredFiles
from meta.names import AgentName
from reconciler.agents.declared.look import Look
from reconciler.apply.effects import effect
from reconciler.observe.declared import DeclaredRecord
from reconciler.plan.declared import Standing, Verdict
from reconciler.store.record import Record


class Records:
    """A record for each agent that is or was declared."""

    def __init__(self, store: Record[dict[str, DeclaredRecord]]) -> None:
        self._store = store

    async def all(self) -> Mapping[AgentName, DeclaredRecord]:
        """Return all records by agent."""
        return {AgentName(name): record for name, record in (await self._store.load()).items()}

    async def of(self, agent: AgentName) -> DeclaredRecord | None:
        """Return the record of one agent."""
        return (await self._store.load()).get(agent)

    async def note(
        self, agent: AgentName, files: DeclaredFiles | None, record: DeclaredRecord | None, look: Look, verdict: Verdict
    ) -> None:
        """Remember where both stand, once there is nothing to do."""
        if files is None:
            return
        after = replace(record or DeclaredRecord(), digest=files.digest)
        if verdict.standing is Standing.AGREES and look.pin is not None:
            after = replace(after, agreed_id=look.pin[0], agreed=look.pin[1])
        if record is None or record.digest != files.digest:
            after = replace(after, tried=verdict.id if verdict.id is not None else look.tried)
        if look.newest is not None and look.newest > (after.seen if after.seen is not None else -1):
            after = replace(after, seen=look.newest)
        if after != record:
            await self._save(agent, after)

    async def remember(
        self, agent: AgentName, *, dropped: bool, digest: str | None = None, tried: int | None = None
    ) -> None:
        """Note the declaration that was acted on and the id that was made for it, and whether it was dropped."""
        record = await self.of(agent) or DeclaredRecord()
        if digest is not None:
            record = replace(record, digest=digest, tried=tried)
        await self._save(agent, replace(record, dropped=dropped))

    async def forget(self, agent: AgentName) -> None:
        """Remove the record of an agent, if there is one."""
        records = dict(await self._store.load())
        records.pop(agent, None)
        with effect("remember-declared"):
            await self._store.save(records)

    async def _save(self, agent: AgentName, record: DeclaredRecord) -> None:
        with effect("remember-declared"):
            await self._store.save({**await self._store.load(), agent: record})
