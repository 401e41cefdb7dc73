"""What is being deployed, what failed, and the log of all; and each deploy alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from api.operations.base import AgentField, IdField, Input, Nothing
from api.operations.proposals import DiffInput, PendingInput, ProposalInput, diff, pending, proposal
from api.operations.views import LogInput, log, overview
from api.ui.moment import Moment
from api.ui.page import Fragment, Page, Region, Room, Shown
from api.ui.pages.deploys.acting import ACTIONS
from api.ui.pages.deploys.rows import DeployView, deploy_of, entries, open_failures
from api.ui.pages.needs_you.settings import settings_of
from api.ui.pages.needs_you.system import system_of
from api.ui.progress.facts import UNDER_WAY, Facts
from api.ui.progress.read import facts_of
from api.ui.progress.steps import BUILD, RUN, current
from meta.errors import HiveError, NotFound
from meta.names import AgentName, ProposalId
from reconciler.views import Card

PAGE_ROWS = 50
"""Lines of the log on one page."""
PAGES = 20
"""Pages of the log: the operation returns 1,000 lines at most."""
CARDS = 60
"""The newest cards: the log has their titles, and failures are looked for among them. Each costs a look at its repo."""
UNDER_WAY_MOST = 20
"""Deploys under way that are shown with their steps."""
BUILD_AGAIN = 1.0
"""Seconds after which a page is read again while something builds: a line of a log is no change of hive."""


class DeploysInput(Input):
    """The page of the log."""

    page: int = Field(1, ge=1, le=PAGES)


class DeployInput(Input):
    """One deploy."""

    agent: AgentField
    id: IdField
    layout: Literal["inline", "split"] = "inline"


@dataclass(frozen=True, slots=True)
class Log:
    """One page of the log, with the numbers of the pages around it."""

    entries: tuple[object, ...]
    page: int
    previous: int | None
    next: int | None


async def view(moment: Moment, asked: DeploysInput) -> Shown:
    """Return what is under way, what failed, and one page of the log."""
    cards = await moment.ask(pending, PendingInput(all=True, limit=CARDS))
    going, hidden, unread = await _under_way(moment, cards)
    shown = [await _deploy(moment, card) for card in [*going, *open_failures(cards, moment.at)]]
    wanted = min(asked.page * PAGE_ROWS + 1, 1_000)
    rows = (await moment.ask(log, LogInput(limit=wanted)))[(asked.page - 1) * PAGE_ROWS :]
    more = len(rows) > PAGE_ROWS and asked.page < PAGES
    page = Log(
        entries(rows[:PAGE_ROWS], cards),
        asked.page,
        asked.page - 1 if asked.page > 1 else None,
        asked.page + 1 if more else None,
    )
    values = {
        "going": [deploy for deploy in shown if deploy.under_way],
        "hidden": hidden,
        "unread": unread,
        "failed": [deploy for deploy in shown if deploy.failed],
        "log": page,
    }
    return Shown(values, again=_again(shown))


async def view_one(moment: Moment, asked: DeployInput) -> Shown:
    """Return one deploy. Raise NotFound."""
    card = await _card(moment, asked.agent, asked.id)
    shown = await _deploy(moment, card)
    title = f"{shown.agent} {shown.id}: {shown.title}"
    return Shown({"deploy": shown, "card": card, "layout": asked.layout}, title, _again([shown]))


async def view_changes(moment: Moment, asked: DeployInput) -> Shown:
    """Return what a deploy changes: settings in words, the system, files."""
    try:
        found = await moment.ask(diff, DiffInput(id=asked.id, agent=asked.agent))
        files = await moment.diffs.show(found, f"d{asked.agent}-{asked.id}", asked.layout)
    except HiveError as error:
        return Shown({"problem": error.describe()})
    return Shown(
        {
            "problem": "",
            "agent": asked.agent,
            "id": asked.id,
            "diff": found,
            "files": files,
            "layout": asked.layout,
            "settings": await asyncio.to_thread(settings_of, found.settings, found.words),
            "system": system_of(found.system),
        }
    )


async def _under_way(moment: Moment, cards: list[Card]) -> tuple[list[Card], int, list[str]]:
    """Return the deploys under way, oldest first, how many more there are, and those that cannot be read, in words.

    The status has the one in flight of each agent. Further ones, which wait for that, are looked for among `cards`.
    """
    status = await moment.ask(overview, Nothing())
    known = {(card.agent, card.id): card for card in cards if card.state in UNDER_WAY}
    flying = [(agent.agent, agent.in_flight) for agent in status.agents if agent.in_flight is not None]
    wanted = sorted({*known, *flying}, key=lambda each: (each[1], each[0]))
    found: list[Card] = []
    unread: list[str] = []
    for agent, id in wanted[:UNDER_WAY_MOST]:
        try:
            found.append(known[agent, id] if (agent, id) in known else await _card(moment, agent, id))
        except NotFound:
            pass  # it was destroyed meanwhile
        except HiveError as error:  # one deploy must not hide the others
            unread.append(f"Deploy {id} of {agent} cannot be read now: {error.describe()}")
    return [card for card in found if card.state in UNDER_WAY], max(0, len(wanted) - UNDER_WAY_MOST), unread


async def _card(moment: Moment, agent: AgentName, id: ProposalId) -> Card:
    return await moment.ask(proposal, ProposalInput(id=id, agent=agent))


async def _deploy(moment: Moment, card: Card) -> DeployView:
    status = await moment.ask(overview, Nothing())
    names = [agent.agent for agent in status.agents]
    try:
        return deploy_of(await facts_of(moment, card), names)
    except HiveError as error:  # one deploy must not hide the others
        return replace(deploy_of(Facts(card), names), steps=(), unread=error.describe())


def _again(deploys: list[DeployView]) -> float | None:
    """Return when to read again: soon while something builds."""
    steps = [current(deploy.steps) for deploy in deploys if deploy.under_way]
    building = any(step is not None and step.key == BUILD and step.state == RUN for step in steps)
    return BUILD_AGAIN if building else None


NAVIGATION = Region("nav", "parts/navigation.html")
PAGE = Page(
    "deploys",
    "/deploys",
    "Deploys",
    "deploys",
    DeploysInput,
    view,
    "deploys/page.html",
    (
        NAVIGATION,
        Region("deploys-sum", "deploys/sum.html"),
        Region("going", "deploys/going.html"),
        Region("log", "deploys/log.html"),
    ),
)
ONE = Page(
    "deploy",
    "/deploys/{agent}/{id}",
    "Deploy",
    "deploys",
    DeployInput,
    view_one,
    "deploys/deploy.html",
    (NAVIGATION, Region("deploy", "deploys/one.html")),
)
DEPLOYS = Room(
    pages=(PAGE, ONE),
    actions=ACTIONS,
    fragments=(Fragment("/deploys/{agent}/{id}/changes", DeployInput, view_changes, "deploys/changes.html"),),
)
