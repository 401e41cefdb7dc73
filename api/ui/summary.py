"""What every page shows in its navigation: how much waits, and how many agents and deploys there are."""

from __future__ import annotations

from dataclasses import dataclass

from api.operations.base import Nothing
from api.operations.views import overview
from api.ui.moment import Moment
from reconciler.views import Status


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of the navigation. `due` is the number of rows of the attention list."""

    due: int
    urgent: int
    agents: int
    deploys: int
    revision: str


NO_COUNTS = Summary(0, 0, 0, 0, "")
"""The navigation of a page that is about an error: nothing is read for it."""


async def summarise(moment: Moment) -> Summary:
    """Return the summary of a moment."""
    return summary_of(await moment.ask(overview, Nothing()))


def summary_of(status: Status) -> Summary:
    """Return the summary of a status."""
    counts = status.attention
    return Summary(
        due=sum(counts.values()),
        urgent=counts.get("critical", 0) + counts.get("high", 0),
        agents=len(status.agents),
        deploys=sum(agent.in_flight is not None for agent in status.agents),
        revision=status.revision,
    )
