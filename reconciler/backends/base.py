"""The protocol of every backend, which runs containers (tests/contract/test_backends.py checks it).

A root helper can implement it: every verb takes validated names and values, none takes a command. All verbs are
idempotent. They raise TransientError if a retry may help, Refused for a container without hive's marker, PermanentError
otherwise. `stop` returns once the container's processes have ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from meta.model import ContainerSettings, Generation
from meta.names import AgentName
from meta.process import landlock
from reconciler.plan.observed import Container, Held, Launch
from reconciler.views import LogPart

Hint = Callable[[AgentName], None]
"""Called on the daemon's loop if something about a container changed. A hint may be missing or wrong."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """The limits and isolation that this backend enforces on this host, for `hive status`. Without notes it enforces
    all of them.
    """

    isolation: str
    limits: str
    uids: str
    notes: tuple[str, ...] = ()
    programs: str = ""
    """The coding agents of the host that agents can run; "" if they have their own."""
    programs_path: str = ""
    """The PATH on which this daemon looks for them; `programs_named` is its HIVE_AGENT_PROGRAMS."""
    programs_named: str = ""


def soft_note(*, soft: bool, version: int | None = None) -> list[str]:
    """Return a note if the operator allows scopes that this kernel, with Landlock of this version, does not hold."""
    abi = landlock.abi() if version is None else version
    return [f"scopes of agents are {landlock.held_by(abi, soft=True)}"] if soft and abi < landlock.HOLDS else []


class Backend(Protocol):
    """One way to run containers. `harness_uid`: the harness's uid within its agent's range (0: its first)."""

    name: str
    harness_uid: int

    async def open(self, hint: Hint) -> None:
        """Adopt what an earlier daemon left running and begin to send hints."""

    async def close(self) -> None:
        """Stop sending hints. Containers keep running."""

    def abilities(self) -> Abilities:
        """Return what is enforced here, in words."""

    def names(self) -> frozenset[AgentName]:
        """Return every container with hive's marker, desired or not."""

    def observe(self, agent: AgentName) -> Container:
        """Return the container as it is now. Cheap: starts no process, makes a few stat calls at most."""

    async def create(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make the container with hive's marker and the agent's own directories.

        It has no system yet and does not run.
        """

    async def set_system(self, agent: AgentName, generation: Generation) -> None:
        """Switch to a generation by path, atomically. Takes effect at the next start."""

    async def write_settings(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Write limits, binds and uid range. Takes effect at the next start."""

    async def start(self, agent: AgentName, launch: Launch) -> None:
        """Start the system that is set.

        Record the launch with the start, atomically. Do nothing if the container runs.
        """

    async def stop(self, agent: AgentName, grace: float) -> None:
        """Send TERM, then KILL after `grace` seconds. Return when no process is left."""

    async def destroy(self, agent: AgentName) -> None:
        """Stop and remove the container. The agent's own directories stay."""

    async def own_directories(self, agent: AgentName, settings: ContainerSettings) -> None:
        """Make /state, home and the sockets' directory, owned by the agent's uid."""

    async def own_proposed(self, agent: AgentName, manager: ContainerSettings) -> None:
        """Give the proposed work tree that hive just made to the manager's harness if hive itself cannot.

        Do nothing if the harness owns it already. Only called if `harness_uid` is not 0 and the daemon is not root.
        """

    async def remove_directories(self, agent: AgentName) -> None:
        """Remove /state, home and the proposed work tree of a purged agent if hive itself cannot.

        Only called under the conditions of `own_proposed`.
        """

    async def measure(self, agent: AgentName) -> Held | None:
        """Count what the agent holds on disk. None if the daemon itself may read its directories."""

    async def logs(self, agent: AgentName, lines: int) -> str:
        """Return the last `lines` lines that the container wrote."""

    async def logs_after(self, agent: AgentName, cursor: str | None, lines: int, since: float | None) -> LogPart:
        """Return the lines after `cursor`.

        Without a cursor return at most the last `lines` lines written after `since`. `since` is in Unix seconds. Raise
        BadInput if the lines have no times.
        """
