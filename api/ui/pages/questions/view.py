"""Questions to the operator and between agents, and what became of those that have ended."""

from __future__ import annotations

from urllib.parse import urlencode

from pydantic import Field

from api.operations.base import Input, Nothing
from api.operations.questions import EndedInput, QuestionInput, ended_questions, question, questions
from api.operations.views import agents
from api.ui.moment import Moment
from api.ui.page import Fragment, Page, Region, Room, Shown
from api.ui.pages.questions.acting import ACTIONS
from api.ui.pages.questions.rows import ended_row, open_rows
from api.words.texts import title
from meta.errors import NotFound
from meta.names import MANAGER, OPERATOR
from reconciler.messaging.questions import Question

OPEN = 2
"""Questions to the operator that stand open."""
ROWS = 50
"""Questions of one list."""
PAGE_ROWS = 30
"""Questions that have ended, on one page."""
NAMES = 500


class QuestionsInput(Input):
    """What to show of the questions."""

    agent: str = Field("", max_length=100, description="only those that it asked or was asked")
    show: int | None = Field(None, ge=0, le=2**63 - 1, description="the question that stands open")
    before: int | None = Field(None, ge=0, le=2**63 - 1, description="of those that have ended only older ones")


async def view(moment: Moment, asked: QuestionsInput) -> Shown:
    """Return the open questions, and one page of those that have ended."""
    agent = asked.agent.strip()
    found = [each for each in await moment.ask(questions, Nothing()) if not agent or agent in (each.asker, each.target)]
    found.sort(key=lambda each: (each.asked_at, each.id))  # who has waited longest comes first, as on Needs you
    wanted = [each.id for each in found if each.target == OPERATOR][:OPEN]
    wholes = [each for id in {*wanted, asked.show} - {None} if (each := await _whole(moment, id)) is not None]
    yours, others = open_rows(found, wholes)
    ended = await moment.ask(ended_questions, EndedInput(agent=agent or None, before=asked.before, limit=PAGE_ROWS))
    names = [row.agent for row in await moment.ask(agents, Nothing())]
    return Shown(
        {
            "asked": asked,
            "yours": yours[:ROWS],
            "others": others[:ROWS],
            "counts": (len(yours), len(others)),
            "left_out": max(0, len(yours) - ROWS) + max(0, len(others) - ROWS),
            "ended": [ended_row(each) for each in ended.rows],
            "older": None if ended.next is None else _query(asked.agent, ended.next),
            "names": sorted({*names, MANAGER})[:NAMES],
            "title_of": title,
        }
    )


async def one(moment: Moment, asked: QuestionInput) -> Shown:
    """Return one question, whole: with its form, or with its answer."""
    found = await moment.ask(question, QuestionInput(id=asked.id))
    return Shown({"question": found, "title_of": title})


async def _whole(moment: Moment, id: int | None) -> Question | None:
    """Return an open question with its options; None if it has ended."""
    if id is None:
        return None
    try:
        found = await moment.ask(question, QuestionInput(id=id))
    except NotFound:
        return None
    return found if found.answered_at is None else None


def _query(agent: str, before: int) -> str:
    return f"/questions?{urlencode({**({'agent': agent} if agent else {}), 'before': before})}"


PAGE = Page(
    "questions",
    "/questions",
    "Questions",
    "questions",
    QuestionsInput,
    view,
    "questions/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("questions-sum", "questions/sum.html"),
        Region("questions", "questions/list.html"),
        Region("questions-ended", "questions/ended.html"),
    ),
)
QUESTIONS = Room(
    pages=(PAGE,),
    actions=ACTIONS,
    fragments=(Fragment("/questions/{id}/whole", QuestionInput, one, "questions/whole.html"),),
)
