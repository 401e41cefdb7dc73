"""What every backend says alike: of a failing disk, and of a container that is not there or not hive's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from meta.errors import Refused, TransientError
from meta.names import AgentName
from reconciler.plan.observed import Container


@contextlib.contextmanager
def disk(what: str) -> Iterator[None]:
    """A failing disk or control group as an error that may pass."""
    try:
        yield
    except OSError as error:
        raise TransientError(f"{what}: {error}", "see whether the disk is full") from error


def existing(agent: AgentName, seen: Container, what: str, remedy: str, *, allow_missing: bool = False) -> Container:
    """`seen`, where it is this hive's. `what` names the container, `remedy` says how to get rid of another's.

    Refused for one without hive's marker; TransientError for none, unless `allow_missing`.
    """
    if seen.exists and not seen.ours:
        raise Refused(
            f"{what} has no marker of this hive, so it is not touched",
            f"{remedy}, or choose another name for the agent",
        )
    if not seen.exists and not allow_missing:
        raise TransientError(f"the container {agent} is not there", "the next pass makes it again")
    return seen
