"""What is known about the declaration of the host's configuration: who is declared, and how each stands to git."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from meta.names import AgentName, ProposalId, Sha
from reconciler.plan.declared import Standing
from reconciler.store.database import Database
from reconciler.store.record import Record


@dataclass(frozen=True, slots=True)
class DeclaredRecord:
    """What no tag has of a declared agent.

    `digest` is that of the declaration looked at last, `tried` the id that was made for it. `agreed_id` and `agreed`
    are the deployed id and its commit when git and the declaration last agreed. `dropped`: it was stopped because it is
    declared no more.
    """

    digest: str = ""
    tried: int | None = None
    agreed_id: int | None = None
    agreed: str | None = None
    dropped: bool = False

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

    def standing(self, agent: AgentName) -> str:
        """Return how the agent's declaration stands to git, in a word or two; "" if it has none."""
        shown = self._shown.get(agent)
        return str(shown.standing) if shown is not None else ""

    def conditions(self, agent: AgentName) -> tuple[str, ...]:
        """Return what an operator should know about the agent's declaration."""
        shown = self._shown.get(agent)
        return (shown.text,) if shown is not None and shown.text else ()
