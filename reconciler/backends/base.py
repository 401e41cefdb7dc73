"""How containers run: the protocol that every backend obeys (tests/contract/backends.py is its law).

Drawn so that a root helper fits behind it: every verb takes validated names and values, none takes a command.
All verbs are idempotent. They raise TransientError when trying again may help, Refused for a container without
hive's marker, PermanentError otherwise. `stop` returns once the container's processes are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from meta.model import ContainerSettings, Generation
from meta.names import AgentName
from reconciler.plan.observed import Container, Launch
from reconciler.views import LogPart

Hint = Callable[[AgentName], None]
"""Called, on the daemon's loop, when something about a container changed. A hint may be missing or wrong."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What this backend can do on this host; shown by `hive status`. Empty notes = everything."""

    isolation: str
    limits: str
    uids: str
    notes: tuple[str, ...] = ()


class Backend(Protocol):
    """One way to run containers. `harness_uid`: the harness's uid within its agent's range (0: its first)."""

    name: str
    harness_uid: int

    async def open(self, hint: Hint) -> None:
        """Adopt what an earlier daemon left running, and begin to send hints."""

    async def close(self) -> None:
        """Stop sending hints; containers go on."""

    def abilities(self) -> Abilities:
        """What is enforced here, in words."""

    def names(self) -> frozenset[AgentName]:
        """Every container with hive's marker, desired or not."""

    def observe(self, agent: AgentName) -> Container:
        """The container as it is now. Cheap: no process is started, a few stat calls at most."""

    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make the container (not running, no system) with hive's marker and the agent's own directories."""

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Switch to a generation by path, atomically. Takes effect at the next start."""

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Write limits, binds, uid range. Takes effect at the next start."""

    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Start what is set; the launch is recorded with the start, atomically. Running already: nothing."""

    async def stop(self, agent: AgentName, grace: float) -> None:
        """TERM, then KILL after `grace` seconds; returns when nothing is left."""

    async def destroy(self, agent: AgentName) -> None:
        """Stop and remove the container; the agent's own directories stay."""

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make /state, home and the sockets' directory, owned by the agent's uid."""

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Give the proposed work tree that hive just made to the manager's harness, where hive itself cannot.

        Settled already: nothing. Only asked for where `harness_uid` is not 0 and the daemon is not root.
        """

    async def remove_directories(self, agent: AgentName) -> None:
        """Remove /state, home and the proposed work tree of an agent that was destroyed, where hive itself cannot.

        Asked for as `own_proposed` is, and only for an agent that is purged.
        """

    async def logs(self, agent: AgentName, lines: int) -> str:
        """The last `lines` lines that the container wrote."""

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """The lines after `cursor`, or the last `lines` ones for None: at most so many written after `since`.

        `since` is in Unix seconds; BadInput where the lines have no times.
        """
