"""The settings of an agent as they are deployed, or were, and the edit of agent.toml: it becomes a proposal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from pydantic import Field

from api.operations.base import Call
from api.operations.lifecycle import Named
from api.operations.proposals import PendingInput, pending
from api.operations.settings import EditInput, SettingsInput, edit, settings
from api.ui.acting import do
from api.ui.diff.blocks import Tokens
from api.ui.diff.edits import edit_diff
from api.ui.diff.highlight import Highlighter
from api.ui.diff.lines import Line, numbered
from api.ui.diff.lines import shown as line
from api.ui.diff.values import FileDiff
from api.ui.moment import Moment
from api.ui.page import Action, Answered, Done, Region, Shown
from api.ui.pages.agent.head import read_head
from api.ui.pages.agent_tabs.generations import generation
from api.ui.pages.agent_tabs.tab import tab
from api.ui.pages.deploys.rows import title_of
from meta.errors import BadInput, Conflict, HiveError, Refused
from meta.names import ProposalId
from reconciler.views import Card

IDS = 50
"""Deployed ids that can be chosen."""
READ = 1_000
"""Cards of the agent among which they are looked for."""
CODE_MOST = 40_000
"""Characters of a file that are shown."""
FORM = "edit"
EDITED = "edit#agent.toml"
"""The source of a proposal that an edit made."""


class AtInput(Named):
    """One agent, and the id or commit whose settings are shown; without it those that are deployed."""

    at: str | None = Field(None, max_length=64)


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an edit. `waits`: the edit that waits, which this one can replace; `problem`: what is wrong."""

    agent: str
    text: str
    base: str
    description: str = ""
    waits: int | None = None
    replaces: bool = False
    problem: str = ""
    hint: str = ""


async def view(moment: Moment, asked: AtInput) -> Shown:
    """Return the settings of one commit, and the form that edits those that are deployed."""
    head = await read_head(moment, asked.agent, "settings")
    title = f"Settings of {asked.agent}"
    try:
        deployed = await moment.ask(settings, SettingsInput(agent=asked.agent))
    except HiveError as error:  # nothing is deployed yet, or it cannot be read
        return Shown({"head": head, "problem": error.summary, "form": None}, title)
    shown = await moment.ask(settings, SettingsInput(agent=asked.agent, at=asked.at)) if asked.at else deployed
    cards = await moment.ask(pending, PendingInput(all=True, agent=asked.agent, limit=READ))
    ids = [(card.id, title_of(card)) for card in cards if card.state == "deployed"][:IDS]
    id = int(asked.at) if asked.at and asked.at.isdecimal() else head.row.deployed if not asked.at else None
    texts = {name: text for name, text in (("agent.toml", shown.text), ("agent.nix", shown.module or "")) if text}
    values = {
        "head": head,
        "problem": "",
        "files": await code_of(moment.diffs.highlighter, {name: text[:CODE_MOST] for name, text in texts.items()}),
        "left_out": {name: len(text) - CODE_MOST for name, text in texts.items() if len(text) > CODE_MOST},
        "deploy": next((generation(card, None) for card in cards if card.id == id and card.state == "deployed"), None),
        "at": asked.at or "",
        "ids": ids,
        "shown": shown,
        "running": shown.sha == deployed.sha,
        "form": Form(asked.agent, deployed.text, deployed.base, waits=waiting_edit(cards)),
    }
    return Shown(values, title)


async def code_of(highlighter: Highlighter, texts: Mapping[str, str]) -> dict[str, tuple[Line, ...]]:
    """Return the lines of files by name, with the tokens of their language if those are known soon."""
    files = [edit_diff(name, None, text) for name, text in texts.items()]
    tokens = await highlighter.tokens(files)
    return {file.path: tuple(_lines(file, tokens.get(file.path, {}))) for file in files}


def _lines(file: FileDiff, tokens: Tokens) -> Iterator[Line]:
    for hunk in file.hunks:
        for row in numbered(hunk.rows, hunk.old, hunk.new):
            yield line(replace(row, sign=" ", open=False), (), tokens.get(("+", row.new), ()))


def waiting_edit(cards: Iterable[Card]) -> ProposalId | None:
    """Return the edit that waits for a decision, if there is one."""
    return next((card.id for card in cards if card.status == "pending" and card.source == EDITED), None)


async def propose(call: Call, asked: EditInput) -> Done:
    """Propose another agent.toml. What is wrong with it stands above it, and the text stays."""
    try:
        card = await do(call, edit, asked)
    except (BadInput, Conflict, Refused) as error:
        return Done("Nothing was proposed: see above the text.", part=await _again(call, asked, error))
    return Done(
        f"The edit of {card.agent} waits for you as proposal {card.id}.",
        f"/?{urlencode({'row': f'proposal:{card.agent}:{card.id}'})}",
    )


async def _again(call: Call, asked: EditInput, error: HiveError) -> Answered:
    """Return the form with what was typed, and what is wrong with it."""
    cards = await do(call, pending, PendingInput(agent=asked.agent, limit=READ))
    form = Form(
        asked.agent,
        asked.text,
        asked.base or "",
        asked.description,
        waiting_edit(cards),
        asked.replaces is not None,
        error.summary,
        error.hint or "",
    )
    return Answered(FORM, "agent_tabs/edit.html", {"form": form})


SETTINGS = tab("settings", "Settings", AtInput, view, Region("config", "agent_tabs/config.html"))
ACTIONS = (Action("/agents/{agent}/settings", EditInput, propose),)
