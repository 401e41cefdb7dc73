"""What the agent's page loads when a fold is opened: a turn, the turns before, and the whole of one item."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from api.operations.base import Nothing
from api.operations.lifecycle import Named
from api.operations.live_events import POSITION, live_events
from api.operations.views import overview
from api.ui.moment import Moment
from api.ui.page import Fragment, Shown
from api.ui.pages.agent.follower import Followers
from api.ui.pages.agent.head import agent_row
from api.ui.transcript.cache import Cache
from api.ui.transcript.items import Call
from api.ui.transcript.shown import TURNS, WINDOW, call_body, lines, message, part, text_body
from api.ui.transcript.transcript import Transcript
from api.ui.transcript.words import WHOLE_BLOCKS, WHOLE_RUNS, blocks
from api.words.messages import readable
from meta.errors import NotFound

GONE = "it is not kept any more", "the newest 2,000 events of an agent are kept"


class TurnInput(Named):
    """One turn of an agent, "" for one whose beginning is not kept; of its items those before the index `end`."""

    turn: str = Field("", pattern=f"^({POSITION})?$")
    end: int | None = Field(None, ge=0, le=10**6)


class ItemInput(Named):
    """One item of an agent's transcript, or the message of a turn."""

    item: str = Field(pattern=f"^{POSITION}(_[0-9]{{1,4}})?$")


async def turn(moment: Moment, asked: TurnInput) -> Shown:
    """Return the items of a turn, and the message that began it."""

    def look(transcript: Transcript) -> dict[str, object]:
        found = transcript.turn(asked.turn)
        if found is None:
            raise NotFound(*GONE)
        end = len(found.items) if asked.end is None else min(asked.end, len(found.items))
        first = max(0, end - WINDOW)
        begun = message(found) if found.key and asked.end is None else None
        return {"message": begun, "part": part(found, first, end), "agent": asked.agent, "cache": Cache()}

    return await _read(moment, asked, look)


async def turns(moment: Moment, asked: Named) -> Shown:
    """Return the lines of the turns that have none on the page."""
    return await _read(
        moment, asked, lambda transcript: {"lines": lines(transcript.turns[: -TURNS - 1]), "agent": asked.agent}
    )


async def item(moment: Moment, asked: ItemInput) -> Shown:
    """Return the whole of one item."""

    def look(transcript: Transcript) -> dict[str, object]:
        found, begun = transcript.item(asked.item), transcript.turn(asked.item)
        if isinstance(found, Call):
            return {"body": call_body(found), "agent": asked.agent}
        if found is None and begun is None:
            raise NotFound(*GONE)
        text = text_body(readable(begun.sender, begun.body) if found is None and begun else found.text if found else "")
        shown, left_out = blocks(text.text, WHOLE_BLOCKS, WHOLE_RUNS)
        return {"body": None, "blocks": shown, "left_out": text.left_out + left_out, "agent": asked.agent}

    return await _read(moment, asked, look)


async def _read(moment: Moment, asked: Named, look: Callable[[Transcript], dict[str, object]]) -> Shown:
    agent_row(await moment.ask(overview, Nothing()), asked.agent)
    follower = moment.kept.of(Followers).of(asked.agent)
    return Shown(await follower.read(lambda each: moment.ask(live_events, each), look))


FRAGMENTS = (
    Fragment("/agents/{agent}/turn", TurnInput, turn, "agent/fragment-turn.html"),
    Fragment("/agents/{agent}/turns", Named, turns, "agent/fragment-turns.html"),
    Fragment("/agents/{agent}/item", ItemInput, item, "agent/fragment-item.html"),
)
