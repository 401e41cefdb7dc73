"""The questions that an agent asked and those that it was asked, while they are open."""

from __future__ import annotations

from collections.abc import Iterable

from api.operations.base import Nothing
from api.operations.lifecycle import Named
from api.operations.questions import questions
from api.ui.moment import Moment
from api.ui.page import Region, Shown
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.tab import tab
from meta.names import OPERATOR
from reconciler.messaging.questions import Question

SHOWN = 30
"""Questions with their forms on one page."""


def split(agent: str, found: Iterable[Question]) -> tuple[list[Question], list[Question], list[Question]]:
    """Return the questions of an agent to the operator, those to other agents, and those that others ask it."""
    every = list(found)
    asked = [each for each in every if each.asker == agent]
    return (
        [each for each in asked if each.target == OPERATOR],
        [each for each in asked if each.target != OPERATOR],
        [each for each in every if each.target == agent],
    )


async def view(moment: Moment, asked: Named) -> Shown:
    """Return the open questions of one agent."""
    head = await read_head(moment, asked.agent, "questions")
    found = await moment.ask(questions, Nothing())
    yours, others, own = split(asked.agent, found)
    groups = [
        ("yours", "For you", yours[:SHOWN]),
        ("others", "For other agents", others[:SHOWN]),
        ("own", f"For {asked.agent}", own[:SHOWN]),
    ]
    left_out = sum(max(0, len(each) - SHOWN) for each in (yours, others, own))
    values = {"head": head, "groups": [each for each in groups if each[2]], "left_out": left_out}
    return Shown(values, f"Questions of {asked.agent}")


QUESTIONS = tab("questions", "Questions", Named, view, Region("questions", "agent_tabs/questions_list.html"))
