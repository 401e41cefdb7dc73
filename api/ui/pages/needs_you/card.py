"""A proposal as a person decides on it: who asks and why, what would change, what was checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from api.operations.base import Nothing
from api.operations.passkeys import passkeys
from api.operations.proposals import DiffInput, ProposalInput, diff, proposal
from api.ui.diff.shown import ShownDiff
from api.ui.diff.source import INLINE, SPLIT
from api.ui.moment import Moment
from api.ui.pages.needs_you.checks import Check, checks_of, summarise
from api.ui.pages.needs_you.settings import Settings, settings_of
from api.ui.pages.needs_you.system import System, system_of
from api.ui.pieces import Piece, prose
from meta.names import AgentName, ProposalId
from reconciler.views import Card, Diff

ROWS_MOST = 300
"""Rows of a diff that the card shows at once. Files beyond are folded: several cards are on one page."""


@dataclass(frozen=True, slots=True)
class ProposalBody:
    """What the card of a proposal shows. `checked` has what passed, warned and failed, in words.

    `twice` is the reason why an approval asks again, "" if it does not. `by_passkey`: it needs a touch.
    """

    template: ClassVar[str] = "needs_you/proposal.html"
    card: Card
    diff: Diff
    settings: Settings
    system: System
    files: ShownDiff = field(repr=False)
    checks: tuple[Check, ...]
    checked: tuple[str, str, str]
    stale: tuple[Piece, ...]
    twice: str
    layout: str
    by_passkey: bool


async def read_proposal(moment: Moment, id: ProposalId, agent: AgentName | None, *, split: bool) -> ProposalBody:
    """Return the card of a proposal. Raise NotFound."""
    card = await moment.ask(proposal, ProposalInput(id=id, agent=agent))
    changes = await moment.ask(diff, DiffInput(id=id, agent=agent))
    layout = SPLIT if split else INLINE
    by_passkey = (await moment.ask(passkeys, Nothing())).approvals
    return body_of(card, changes, await read_files(moment, changes, layout), layout, by_passkey=by_passkey)


async def read_files(moment: Moment, changes: Diff, layout: str) -> ShownDiff:
    """Return the files of a diff. Those beyond ROWS_MOST are folded: several cards are on one page."""
    return await moment.diffs.show(changes, f"p{changes.agent}-{changes.id}", layout, ROWS_MOST)


def body_of(
    card: Card, changes: Diff, files: ShownDiff, layout: str = INLINE, *, by_passkey: bool = False
) -> ProposalBody:
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
        by_passkey=by_passkey,
    )
