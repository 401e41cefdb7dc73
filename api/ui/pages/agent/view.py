"""One agent: its turn as it happens, what it costs, and a message to it."""

from __future__ import annotations

from api.operations.lifecycle import Named
from api.operations.live_events import live_events
from api.operations.loose_ends import loose_ends
from api.operations.network import NetworkInput, network
from api.operations.usage import UsageInput, usage
from api.ui.moment import Moment
from api.ui.page import Page, Region, Room, Shown
from api.ui.pages.agent.actions import TURN_ACTIONS
from api.ui.pages.agent.figures import TURNS_READ, charts, ends_of
from api.ui.pages.agent.follower import Followers
from api.ui.pages.agent.fragments import FRAGMENTS
from api.ui.pages.agent.head import HEAD, Head, read_head
from api.ui.pages.agent.pods import POD_ACTION, rows_of
from api.ui.pages.agent.say import SAY
from api.ui.pages.agent.stream import TRANSCRIPT, live_stream
from api.ui.pages.agent.ways import others, ways, why
from meta.errors import HiveError
from meta.wire.agent import GetLooseEnds
from reconciler.network.views import RefusedHost
from reconciler.network.words import wanted


async def view(moment: Moment, asked: Named) -> Shown:
    """Return what the page shows."""
    head = await read_head(moment, asked.agent, "live")
    report = await moment.ask(usage, UsageInput(agent=asked.agent, turns=TURNS_READ))
    ends = await moment.ask(loose_ends, GetLooseEnds())
    follower = moment.kept.of(Followers).of(asked.agent)
    scene = await follower.scene(lambda each: moment.ask(live_events, each))
    limit = report.agents[0].budget.dollars if report.agents else None
    refused = await _refused(moment, head)
    is_trouble = head.badge.kind in ("bad", "warn")
    said = others(head.badge.word, head.row.conditions, head.row.reason) if is_trouble else head.row.conditions
    values = {
        "head": head,
        "refused": refused.values(),
        "why": why(head.badge.word, head.row.reason) if is_trouble else "",
        "ways": ways(head.agent, head.badge.word) if is_trouble else (),
        "conditions": [each for each in said if each not in refused],
        "agent": asked.agent,
        "pods": rows_of(head.row),
        "scene": scene,
        "cache": follower.cache,
        "charts": charts(report.turns, moment.at, limit),
        "ends": ends_of(asked.agent, ends),
        "when": delivery(head),
    }
    return Shown(values, f"{asked.agent}, turn {scene.number}" if scene.number and head.in_turn else asked.agent)


async def _refused(moment: Moment, head: Head) -> dict[str, RefusedHost]:
    """Return the refused hosts that the agent's conditions name, each by its condition: one can allow them here."""
    if not any(each.startswith("wanted ") for each in head.row.conditions):
        return {}
    try:
        found = (await moment.ask(network, NetworkInput(agent=head.agent)))[0].refused
    except HiveError:
        return {}  # the conditions say it with the command
    named = {wanted(head.agent, each.host, each.port, each.count): each for each in found if not each.problem}
    return {words: each for words, each in named.items() if words in head.row.conditions}


def delivery(head: Head) -> str:
    """Return when a message that is sent now reaches the agent."""
    if head.row.desired != "running":
        return "Delivered once it is started."
    if head.row.paused:
        return "Delivered once it is resumed."
    if head.in_turn:
        return "Delivered at the next tool call."
    return "It begins a turn." if head.badge.kind == "ok" else "Delivered once it takes turns again."


PAGE = Page(
    "agent",
    "/agents/{agent}",
    "Agent",
    "agents",
    Named,
    view,
    "agent/page.html",
    (
        Region("nav", "parts/navigation.html"),
        HEAD,
        Region("trouble", "agent/trouble.html"),
        TRANSCRIPT,
        Region("hint", "agent/hint.html"),
        Region("figures", "agent/figures.html"),
    ),
    stream=live_stream,
)
AGENT = Room(pages=(PAGE,), actions=(*TURN_ACTIONS, POD_ACTION, SAY), fragments=FRAGMENTS)
