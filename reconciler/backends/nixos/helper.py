"""What the backend asks of root: the verbs of reconciler.privileged.client.Client, so that tests can have their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from meta.errors import NotFound, TransientError
from meta.model import ContainerSettings
from meta.names import AgentName
from reconciler.privileged import values
from reconciler.privileged.client import LogLines


class RootHelper(Protocol):
    """Every verb is idempotent. Errors as in reconciler.privileged.client."""

    async def create(self, name: AgentName, uid_base: int, system: str) -> None:
        """Make the container with hive's marker."""

    async def set_system(self, name: AgentName, system: str) -> None:
        """Switch to a system by path; takes effect at the next start."""

    async def write_settings(self, name: AgentName, settings: values.Settings) -> None:
        """Write binds, uid range and limits; takes effect at the next start."""

    async def start(self, name: AgentName) -> None:
        """Start what is set and await that it is up."""

    async def stop(self, name: AgentName, grace: float) -> None:
        """TERM, then KILL after `grace` seconds; returns when nothing is left."""

    async def destroy(self, name: AgentName) -> None:
        """Stop and remove the container; the agent's own directories stay."""

    async def own_directory(self, name: AgentName, kind: str, uid_base: int) -> None:
        """Make one of the agent's directories (values.KINDS) and give it to the agent."""

    async def remove_directories(self, name: AgentName) -> None:
        """Remove state, home and proposed work tree of an agent that has no container any more."""

    async def logs(self, name: AgentName, lines: int, cursor: str | None = None, since: int | None = None) -> LogLines:
        """The last `lines` lines after `cursor`, of those written after the Unix second `since`."""


def plain(settings: ContainerSettings) -> values.Settings:
    """The settings as the helper knows them; both have the same fingerprint."""
    limits = settings.limits
    return values.Settings(
        role=settings.role.value,
        uid_base=settings.uid_base,
        limits=values.Limits(limits.memory_mib, limits.pids, limits.cpu_percent),
        isolated=settings.isolated,
    )


@contextlib.contextmanager
def present(agent: AgentName) -> Iterator[None]:
    """A container that somebody removed in the meantime is no lasting trouble: the next pass makes it again."""
    try:
        yield
    except NotFound as error:
        raise TransientError(f"the container {agent} is not there", "the next pass makes it again") from error
