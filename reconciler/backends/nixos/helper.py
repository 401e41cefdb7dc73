"""The root helper as the backend calls it.

The verbs are those of reconciler.privileged.client.Client; tests replace them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from meta.errors import NotFound, TransientError
from meta.model import ContainerSettings
from meta.names import AgentName
from reconciler.privileged import values
from reconciler.privileged.client import LogLines
from reconciler.privileged.held import Held


class RootHelper(Protocol):
    """The root helper. Every verb is idempotent. Errors as in reconciler.privileged.client."""

    async def create(self, name: AgentName, uid_base: int, system: str) -> None:
        """Make the container with hive's marker."""

    async def set_system(self, name: AgentName, system: str) -> None:
        """Switch to a system by path. Takes effect at the next start."""

    async def write_settings(self, name: AgentName, settings: values.Settings) -> None:
        """Write binds, uid range and limits. Takes effect at the next start."""

    async def start(self, name: AgentName) -> None:
        """Start the system that is set, and wait until it is up."""

    async def stop(self, name: AgentName, grace: float) -> None:
        """Send TERM, then KILL after `grace` seconds. Return when no process is left."""

    async def destroy(self, name: AgentName) -> None:
        """Stop and remove the container. The agent's own directories stay."""

    async def own_directory(self, name: AgentName, kind: str, uid_base: int) -> None:
        """Make one of the agent's directories (values.KINDS) and give it to the agent."""

    async def remove_directories(self, name: AgentName) -> None:
        """Remove state, home and proposed work tree of an agent without a container."""

    async def measure(self, name: AgentName) -> Held:
        """Count what the agent's directories and the container's root hold."""

    async def logs(self, name: AgentName, lines: int, cursor: str | None = None, since: int | None = None) -> LogLines:
        """Return the last `lines` lines after `cursor` that were written after the Unix second `since`."""


def plain_settings(settings: ContainerSettings) -> values.Settings:
    """Return the settings as the helper's type. Both types give the same fingerprint."""
    limits = settings.limits
    return values.Settings(
        role=settings.role.value,
        uid_base=settings.uid_base,
        limits=values.Limits(limits.memory_mib, limits.pids, limits.cpu_percent),
        isolated=settings.isolated,
    )


@contextlib.contextmanager
def retry_if_missing(agent: AgentName) -> Iterator[None]:
    """Raise TransientError for a container that was removed meanwhile. The next pass makes it again."""
    try:
        yield
    except NotFound as error:
        raise TransientError(f"the container {agent} is missing", "the next pass makes it again") from error
