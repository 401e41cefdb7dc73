"""The row of one agent in the status: what of the harness's words is in it, and when."""

from __future__ import annotations

from dataclasses import replace

from meta.model import RunEntry
from meta.names import AgentName
from meta.wire.link import TurnState
from reconciler.queries.agent_row import RowFacts, agent_row
from reconciler.views import AgentStatus
from tests.support.plan_model import running


def row(**link: object) -> AgentStatus:
    """Return the row of an agent whose link is changed so."""
    model = running()
    model.set(link=replace(model.seen.link, **{"connected": True, **link}))  # type: ignore[arg-type]
    return agent_row(
        RowFacts(
            agent=AgentName("alice"),
            decision=model.decide(),
            observed=model.seen,
            deploys=(),
            entry=None,
            run=RunEntry(),
            since=0.0,
            unread=0,
            trouble=None,
            lines=(),
            declared="",
            grants=(),
            approved_model=None,
        )
    )


def test_a_turn_has_its_number_only_while_it_runs() -> None:
    assert row(turn=TurnState.THINKING, turn_since=5.0, turn_number=41).turn_number == 41
    assert row(turn=TurnState.IDLE, turn_since=None, turn_number=41).turn_number is None


def test_how_full_the_context_is_stands_there_as_long_as_the_harness_is_connected() -> None:
    here, gone = (row(context=124_000, window=200_000, connected=connected) for connected in (True, False))
    assert (here.context_tokens, here.context_window) == (124_000, 200_000)
    assert (gone.context_tokens, gone.context_window) == (None, None)
    assert row(context=1, window=0).context_window is None
