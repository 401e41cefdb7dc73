"""What is known about the declaration of the host's configuration: who is declared, and how each stands to git."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from meta.names import AgentName, ProposalId, Sha
from reconciler.plan.declared import ABOUT, Standing
from reconciler.store.database import Database
from reconciler.store.record import Record


@dataclass(frozen=True, slots=True)
class DeclaredRecord:
    """What no tag has of a declared agent.

    `digest` is that of the declaration looked at last, `tried` the id that was made for it. `agreed_id` and `agreed`
    are the deployed id and its commit when git and the declaration last agreed. `dropped`: it was stopped because it is
    declared no more. `seen` is the newest id that was made for any declaration until then.
    """

    digest: str = ""
    tried: int | None = None
    agreed_id: int | None = None
    agreed: str | None = None
    dropped: bool = False
    seen: int | None = None

    @property
    def last(self) -> ProposalId | None:
        """The newest id that the record knows of. A newer one was made when the record was lost or an older one."""
        known = [id for id in (self.tried, self.agreed_id, self.seen) if id is not None]
        return ProposalId(max(known)) if known else None

    @property
    def agreement(self) -> tuple[ProposalId, Sha] | None:
        """The deploy at which both last agreed."""
        if self.agreed_id is None or self.agreed is None:
            return None
        return ProposalId(self.agreed_id), Sha(self.agreed)


def declared_records(db: Database) -> Record[dict[str, DeclaredRecord]]:
    """Return the record of what was declared last, by agent."""
    return Record(db, "declared", TypeAdapter(dict[str, DeclaredRecord]), {})


@dataclass(slots=True)
class _Shown:
    standing: Standing
    text: str


class DeclaredMemory:
    """Who is declared now, and how each one stands. Commands and the status read it."""

    def __init__(self) -> None:
        self._names: frozenset[AgentName] = frozenset()
        self._shown: dict[AgentName, _Shown] = {}
        self._errors: dict[AgentName, str] = {}

    def declare(self, names: frozenset[AgentName]) -> None:
        """Take over the names of the declared agents."""
        self._names = names

    def is_declared(self, agent: AgentName) -> bool:
        """Return True if the host's configuration declares the agent now."""
        return agent in self._names

    def show(self, agent: AgentName, standing: Standing, text: str = "") -> None:
        """Note how an agent stands. `text` is what an operator should know, "" if all is well."""
        if standing is Standing.NONE:
            self._shown.pop(agent, None)
        else:
            self._shown[agent] = _Shown(standing, text)

    def fail(self, agent: AgentName, text: str) -> bool:
        """Note why an agent's declaration is not followed now, "" if it is. Return True for a new error."""
        before = self._errors.pop(agent, "")
        if text:
            self._errors[agent] = text
        return bool(text) and text != before

    def keep(self, agents: frozenset[AgentName]) -> None:
        """Forget all that is noted of other agents."""
        for notes in (self._shown, self._errors):
            for agent in notes.keys() - agents:
                del notes[agent]

    def standing(self, agent: AgentName) -> str:
        """Return how the agent's declaration stands to git, in a word or two; "" if it has none."""
        shown = self._shown.get(agent)
        return str(shown.standing) if shown is not None else ""

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return what an operator should know about the agent's declaration."""
        shown = self._shown.get(agent)
        return tuple(filter(None, (self._errors.get(agent), shown.text if shown is not None else "")))

    def notes(self, rows: Container[AgentName]) -> Iterator[tuple[AgentName, str]]:
        """Yield what an operator should know about agents that have no row, because git does not have them."""
        for agent in sorted(self._shown.keys() | self._errors.keys()):
            if agent not in rows:
                for text in self.conditions(agent):
                    yield agent, f"{ABOUT}, agent {agent}: {text.removeprefix(ABOUT).lstrip()}"
