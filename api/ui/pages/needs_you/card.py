"""A proposal as a person decides on it: who asks and why, what would change, what was checked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache

from api.operations.proposals import DiffInput, ProposalInput, diff, proposal
from api.ui.diff.patch import read_patch
from api.ui.diff.source import INLINE, SPLIT, Source
from api.ui.diff.view import FileView, diff_view, file_view
from api.ui.moment import Moment
from api.ui.pages.needs_you.checks import Check, checks_of, summarise
from api.ui.pages.needs_you.rows import Piece, prose
from api.ui.pages.needs_you.settings import Settings, settings_of
from api.ui.pages.needs_you.system import System, system_of
from meta.git.diff import FileChange
from meta.names import AgentName, ProposalId, Sha
from reconciler.views import Card, Diff

ROWS_MOST = 300
"""Rows of a diff that the card shows at once. Files beyond are folded: several cards are on one page."""
COMMITS_MOST = 20
PATCHES = 32
"""Patches that are kept as they are shown."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a diff as they are shown, with the number of all lines."""

    files: tuple[FileView, ...]
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class ProposalBody:
    """What the card of a proposal shows. `checked` has what passed, warned and failed, in words.

    `twice` is the reason why an approval asks again, "" if it does not.
    """

    card: Card
    diff: Diff
    settings: Settings
    system: System
    files: Files
    checks: tuple[Check, ...]
    checked: tuple[str, str, str]
    stale: tuple[Piece, ...]
    twice: str
    layout: str

    @property
    def template(self) -> str:
        """The template of its part of the page."""
        return "needs_you/proposal.html"


async def read_proposal(moment: Moment, id: ProposalId, agent: AgentName | None, *, split: bool) -> ProposalBody:
    """Return the card of a proposal. Raise NotFound."""
    card = await moment.ask(proposal, ProposalInput(id=id, agent=agent))
    changes = await moment.ask(diff, DiffInput(id=id, agent=agent))
    layout = SPLIT if split else INLINE
    base = None if changes.base is None else Sha(changes.base)
    source = Source(card.agent, base, changes.sha, f"p-{card.agent}-{id}", layout, id)
    return body_of(card, changes, await asyncio.to_thread(files_of, changes.patch, changes.changes, source), layout)


def body_of(card: Card, changes: Diff, files: Files, layout: str = INLINE) -> ProposalBody:
    """Return the card of what was read."""
    checks = checks_of(card, changes)
    return ProposalBody(
        card=card,
        diff=changes,
        settings=settings_of(changes.settings, changes.words),
        system=system_of(changes.system),
        files=files,
        checks=checks,
        checked=summarise(checks),
        stale=prose(card.stale or ""),
        twice=changes.cut or "",
        layout=layout,
    )


@lru_cache(maxsize=PATCHES)
def files_of(patch: str, changes: tuple[FileChange, ...], source: Source) -> Files:
    """Return the files of a patch. Those beyond ROWS_MOST are folded."""
    read = read_patch(patch, changes)
    views, room = [], ROWS_MOST
    for file, view in zip(read.files, diff_view(read, source.key, source), strict=True):
        room -= file.rows
        views.append(view if room >= 0 else file_view(file, source.key, source, folded=True))
    return Files(tuple(views), read.added, read.removed)
