"""Who talks to whom, the operator's inbox, and dead letters."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from api.operations.base import Input, Nothing
from api.operations.messages import NAME_MOST, AllMessagesInput, MessageInput, all_messages, message
from api.operations.views import agents
from api.ui.moment import Moment
from api.ui.page import Fragment, Page, Region, Room, Shown
from api.ui.pages.messages.acting import ACTIONS
from api.ui.pages.messages.rows import answers_to, letter, letters, whole
from meta.names import MANAGER, OPERATOR

PAGE_ROWS = 40
"""Messages on one page."""
DUE = 10
"""Messages to the operator, and dead letters, that are shown at once."""
NAMES = 500
"""Names that a field proposes."""
FILTERS = (("", "All"), ("waiting", "Unread"), ("in-flight", "In a turn"), ("done", "Done"), ("dead", "Dead letters"))


class MessagesInput(Input):
    """What to show of the messages."""

    agent: str = Field("", max_length=NAME_MOST, description="only those from or to it")
    peer: str = Field("", max_length=NAME_MOST, description="of these only those from or to this one too")
    state: Literal["", "waiting", "in-flight", "done", "dead"] = ""
    q: str = Field("", max_length=200, description="only those with these words")
    before: int | None = Field(None, ge=0, le=2**63 - 1, description="only older ones")
    to: str = Field("", max_length=NAME_MOST, description="to whom a message is about to be written")


async def view(moment: Moment, asked: MessagesInput) -> Shown:
    """Return one page of the messages, and if nothing is asked for what waits for the operator."""
    words = asked.q.strip()
    page = await moment.ask(
        all_messages,
        AllMessagesInput(
            agent=asked.agent.strip() or None,
            peer=asked.peer.strip() or None,
            state=asked.state or None,
            search=words,
            before=asked.before,
            limit=PAGE_ROWS,
        ),
    )
    unread = await moment.ask(all_messages, AllMessagesInput(agent=OPERATOR, state="waiting", limit=DUE))
    dead = await moment.ask(all_messages, AllMessagesInput(state="dead", limit=DUE))
    names = [row.agent for row in await moment.ask(agents, Nothing())]
    narrowed = bool(asked.agent or asked.peer or asked.state or words or asked.before)
    mine = [row for row in unread.rows if row.recipient == OPERATOR]
    return Shown(
        {
            "asked": asked,
            "narrowed": narrowed,
            "letters": letters(page.rows),
            "searched": bool(words) and page.next is not None,
            "older": None if page.next is None else _query(asked, before=page.next),
            "more": unread.next is not None,
            "mine": [letter(row) for row in mine],
            "dead": letters(dead.rows),
            "names": sorted({*names, MANAGER})[:NAMES],
            "filters": [(state, text, _query(asked, state=state, before=None)) for state, text in FILTERS],
            "answers_to": answers_to,
        }
    )


async def text_of(moment: Moment, asked: MessageInput) -> Shown:
    """Return one message as it is."""
    return Shown({"text": whole(await moment.ask(message, asked))})


def _query(asked: MessagesInput, **changes: object) -> str:
    values = {
        "agent": asked.agent,
        "peer": asked.peer,
        "state": asked.state,
        "q": asked.q,
        "before": asked.before,
        **changes,
    }
    return f"/messages?{urlencode({key: value for key, value in values.items() if value not in ('', None)})}"


PAGE = Page(
    "messages",
    "/messages",
    "Messages",
    "messages",
    MessagesInput,
    view,
    "messages/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("messages-sum", "messages/sum.html"),
        Region("messages-mine", "messages/mine.html"),
        Region("messages-dead", "messages/dead.html"),
        Region("messages", "messages/list.html"),
    ),
)
MESSAGES = Room(
    pages=(PAGE,),
    actions=ACTIONS,
    fragments=(Fragment("/messages/{id}/text", MessageInput, text_of, "messages/text.html"),),
)
