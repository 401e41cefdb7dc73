"""The questions that an agent asked and those that it was asked: open ones with the form, and those that have ended."""

from __future__ import annotations

from collections.abc import Iterable

from api.operations.base import Nothing
from api.operations.lifecycle import Named
from api.operations.questions import EndedInput, ended_questions, questions
from api.ui.moment import Moment
from api.ui.page import Region, Shown
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.tab import tab
from api.ui.pages.questions.rows import ended_row
from api.words.texts import title
from meta.names import OPERATOR
from reconciler.messaging.questions import Question

SHOWN = 20
"""Open questions of one list."""
ENDED = 20
"""Questions that have ended, the last ones."""


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
    """Return the questions of one agent."""
    head = await read_head(moment, asked.agent, "questions")
    found = await moment.ask(questions, Nothing())
    yours, others, own = split(asked.agent, found)
    groups = [
        ("yours", "For you", yours[:SHOWN]),
        ("others", "For other agents", others[:SHOWN]),
        ("own", f"For {asked.agent}", own[:SHOWN]),
    ]
    past = await moment.ask(ended_questions, EndedInput(agent=asked.agent, limit=ENDED))
    left_out = sum(max(0, len(each) - SHOWN) for each in (yours, others, own))
    values = {
        "head": head,
        "groups": [each for each in groups if each[2]],
        "left_out": left_out,
        "ended": [ended_row(each) for each in past.rows],
        "more_ended": past.next is not None,
        "title_of": title,
    }
    return Shown(values, f"Questions of {asked.agent}")


QUESTIONS = tab("questions", "Questions", Named, view, Region("questions", "agent_tabs/questions_list.html"))
