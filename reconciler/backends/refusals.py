"""Errors that every backend raises alike: the disk fails, or a container is missing or not hive's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from meta.errors import Refused, TransientError
from meta.names import AgentName
from reconciler.plan.observed import Container


@contextlib.contextmanager
def disk(what: str) -> Iterator[None]:
    """Raise TransientError for a failing disk or control group."""
    try:
        yield
    except OSError as error:
        raise TransientError(f"{what}: {error}", "see whether the disk is full") from error


def existing(
    agent: AgentName, container: Container, what: str, remedy: str, *, allow_missing: bool = False
) -> Container:
    """Return `container` if it is this hive's. `what` names it. `remedy` is how to remove one that is not this hive's.

    Raise Refused for one without hive's marker. Raise TransientError for a missing one, unless `allow_missing`.
    """
    if container.exists and not container.ours:
        raise Refused(
            f"{what} has no marker of this hive, so it is not touched",
            f"{remedy}, or choose another name for the agent",
        )
    if not container.exists and not allow_missing:
        raise TransientError(f"the container {agent} is missing", "the next pass makes it again")
    return container
