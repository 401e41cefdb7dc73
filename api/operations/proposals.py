"""Commits that wait for the operator: propose, show, approve and deny them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field

from api.operations.base import (
    CHANGES,
    LEADERS,
    OPERATORS,
    READS,
    REMOVES,
    AgentField,
    Call,
    IdField,
    Input,
    Route,
    Tool,
    on_host,
    on_manager,
    operation,
)
from api.operations.lifecycle import DESCRIPTION, waiting_text
from api.operations.passkeys import Challenge, holder_of
from meta.errors import BadInput, Refused
from meta.git.diff import CONTEXT, MOST_CONTEXT
from meta.model import DeployKind
from meta.names import AgentName
from meta.wire import host, manager
from meta.wire.common import Approval, ApprovalKind, ApprovalStatus
from meta.wire.limits import DESCRIPTION_MOST
from reconciler.common.touch import LONGEST
from reconciler.views import BuildLog, Card, Diff, RefusedTip, WaitingTips

MAX_ROWS = 1000
OF_AGENT = frozenset({"agent"})
"""`?agent=` distinguishes the ids 0: every agent's first spawn has this id."""


class ProposeInput(Input):
    """A commit of the agent's proposed work tree, or of `source`."""

    agent: AgentField
    commit: str | None = Field(None, description="7 to 40 hex digits; null: the tip", examples=["3f2a91c"])
    description: str = DESCRIPTION
    source: str | None = Field(None, description="an absolute path; null: the proposed work tree")


class PendingInput(Input):
    """The proposals to list."""

    all: bool = Field(False, description="all of them, newest first; else what is pending, oldest first")
    agent: AgentField | None = None
    limit: int = Field(50, ge=1, le=MAX_ROWS)


class RefusedInput(Input):
    """One agent, or all."""

    agent: AgentField | None = None


class ProposalInput(Input):
    """One proposal."""

    id: IdField
    agent: AgentField | None = None


class DiffInput(ProposalInput):
    """One proposal, or one file of it."""

    path: str | None = Field(None, description="only this file, of which more is shown")
    context: int = Field(
        CONTEXT, ge=0, le=MOST_CONTEXT, description="unchanged lines that the patch shows around a change"
    )


class ApproveInput(ProposalInput):
    """One proposal, with the commit and the preview that the operator saw. An approval of anything else is refused."""

    seen: str | None = Field(None, description="the commit that was shown")
    shown: str | None = Field(None, description="the fingerprint of the preview that was shown, from the diff")
    unseen: bool = Field(False, description="approve also what the diff does not show")
    assertion: str | None = Field(
        None, max_length=LONGEST, description="the touch of a passkey, as JSON of the browser's credential"
    )
    without_passkey: bool = Field(False, description="root only: approve without the touch that is needed here")


class ChallengeInput(ProposalInput):
    """One proposal, with all that the touch of a passkey will confirm."""

    seen: str = Field(description="the commit that was shown", examples=["3f2a91c"])
    shown: str | None = Field(None, description="the fingerprint of the preview that was shown, from the diff")
    unseen: bool = Field(False, description="approve also what the diff does not show")


class DenyInput(ProposalInput):
    """One proposal, and a reason."""

    reason: str = Field("", max_length=DESCRIPTION_MOST, description="the reason")


def approval(card: Card) -> Approval:
    """Return a card as the wire has it.

    The wire has no kind for a rollback, so a rollback becomes a commit to apply.
    """
    return Approval(
        id=card.id,
        agent=card.agent,
        kind=ApprovalKind.SPAWN if card.kind is DeployKind.SPAWN else ApprovalKind.APPLY_COMMIT,
        commit_ref=card.commit_ref,
        fetched_sha=card.fetched_sha,
        requested_at=card.requested_at,
        status=ApprovalStatus(card.status),
        resolved_at=card.resolved_at,
        note=card.note,
        description=card.description,
    )


def _approvals(cards: list[Card]) -> host.HostResponse:
    return host.HostResponse(ok=True, approvals=tuple(approval(card) for card in cards))


@operation(
    "request_apply_commit",
    LEADERS,
    CHANGES,
    lines=(on_manager(manager.RequestApplyCommit),),
    routes=(Route("POST", "/api/proposals", status=201),),
    tool=Tool(waiting_text),
)
async def propose(call: Call, asked: ProposeInput) -> Card:
    """Ask the operator to deploy a commit of an agent's proposed work tree. hive pins exactly that commit."""
    source = Path(asked.source) if asked.source else None
    if source is not None and not source.is_absolute():
        raise BadInput(f"source {asked.source!r} is not absolute", "give the whole path, as the daemon sees it")
    deploy = await call.service.proposals.propose(asked.agent, call.who, asked.commit, asked.description, source)
    return await call.service.cards.of(deploy)


@operation(
    "pending", OPERATORS, READS, lines=(on_host(host.Pending, _approvals),), routes=(Route("GET", "/api/proposals"),)
)
async def pending(call: Call, asked: PendingInput) -> list[Card]:
    """List what waits for the operator, oldest first, or all proposals."""
    if asked.all:
        return await call.service.cards.list(asked.agent, asked.limit)
    return [card for card in await call.service.cards.pending() if asked.agent in (None, card.agent)]


@operation("refused", OPERATORS, READS, routes=(Route("GET", "/api/refused"),))
async def refused(call: Call, asked: RefusedInput) -> list[RefusedTip]:
    """List refused branches, each with the reason and the remedy."""
    service = call.service
    names = service.names() if asked.agent is None else [asked.agent]
    return [tip for name in names for tip in service.discovery.refused(name)]


@operation("waiting_tips", OPERATORS, READS, routes=(Route("GET", "/api/waiting"),))
async def waiting_tips(call: Call, asked: RefusedInput) -> list[WaitingTips]:
    """List the agents whose further branches wait before they become proposals, each with the reason."""
    service = call.service
    names = service.names() if asked.agent is None else [asked.agent]
    return [WaitingTips(name, reason) for name in names if (reason := service.discovery.waiting(name)) is not None]


@operation("proposal", OPERATORS, READS, routes=(Route("GET", "/api/proposals/{id}"),))
async def proposal(call: Call, asked: ProposalInput) -> Card:
    """Return one proposal."""
    return await call.service.cards.get(asked.id, asked.agent)


@operation("diff", OPERATORS, READS, routes=(Route("GET", "/api/proposals/{id}/diff"),))
async def diff(call: Call, asked: DiffInput) -> Diff:
    """Return what a proposal changes."""
    return await call.service.diffs.proposal(asked.id, asked.agent, asked.path, asked.context)


@operation("build_log", OPERATORS, READS, routes=(Route("GET", "/api/proposals/{id}/build"),))
async def build_log(call: Call, asked: ProposalInput) -> BuildLog:
    """Return the last lines of a proposal's build, as far as this daemon has them."""
    return await call.service.diffs.build_log(asked.id, asked.agent)


@operation(
    "approve",
    OPERATORS,
    CHANGES,
    lines=(on_host(host.Approve),),
    routes=(Route("POST", "/api/proposals/{id}/approve", query=OF_AGENT),),
)
async def approve(call: Call, asked: ApproveInput) -> Card:
    """Approve a proposal."""
    said = {"id": asked.id, "agent": asked.agent, "commit": asked.seen, "shown": asked.shown, "unseen": asked.unseen}
    approved = await call.service.passkeys.consent(
        holder_of(call), said, asked.assertion, without=asked.without_passkey
    )
    seen, agent, shown = asked.seen, asked.agent, asked.shown
    if (card := approved.card) is not None:  # what was touched for is what is approved
        seen, agent, shown = card.commit, AgentName(card.agent), card.shown or None
    deploy = await call.service.proposals.approve(
        asked.id, call.who, seen, agent, shown, unseen=asked.unseen, consent=approved.consent
    )
    return await call.service.cards.of(deploy)


@operation(
    "approval_challenge",
    OPERATORS,
    CHANGES,
    routes=(Route("POST", "/api/proposals/{id}/challenge", query=OF_AGENT),),
)
async def challenge(call: Call, asked: ChallengeInput) -> Challenge:
    """Ask one of the caller's passkeys to approve a proposal: `options` is "" if approvals need no touch here.

    The answer is valid once, for two minutes.
    """
    deploy = await call.service.proposals.find(asked.id, asked.agent)
    if len(asked.seen) < 7 or not deploy.sha.startswith(asked.seen):
        raise Refused(f"proposal {asked.id} is {deploy.sha[:12]}, not {asked.seen[:40]}", "look again, then approve")
    passkeys = call.service.passkeys
    if not passkeys.required:
        return Challenge("")
    card = passkeys.card(deploy.agent, deploy.id, deploy.sha, asked.shown or "", unseen=asked.unseen)
    return Challenge(options=await passkeys.ask_approval(holder_of(call), card))


@operation(
    "deny",
    OPERATORS,
    REMOVES,
    lines=(on_host(host.Deny),),
    routes=(Route("POST", "/api/proposals/{id}/deny", query=OF_AGENT),),
)
async def deny(call: Call, asked: DenyInput) -> Card:
    """Deny a proposal."""
    deploy = await call.service.proposals.deny(asked.id, call.who, asked.reason, asked.agent)
    return await call.service.cards.of(deploy)


@operation(
    "retry", OPERATORS, CHANGES, routes=(Route("POST", "/api/proposals/{id}/retry", status=201, query=OF_AGENT),)
)
async def retry(call: Call, asked: ProposalInput) -> Card:
    """Propose the commit of a failed or denied id again, under a new id."""
    return await call.service.cards.of(await call.service.proposals.retry(asked.id, call.who, asked.agent))


@operation(
    "rebase", OPERATORS, CHANGES, routes=(Route("POST", "/api/proposals/{id}/rebase", status=201, query=OF_AGENT),)
)
async def rebase(call: Call, asked: ProposalInput) -> Card:
    """Replay a stale proposal onto what the agent runs now, and propose the result in its place."""
    rebased = await call.service.rebase(asked.id, call.who, asked.agent)
    return replace(await call.service.cards.of(rebased.deploy), merges_left_out=rebased.merges)


@operation("cancel", OPERATORS, REMOVES, routes=(Route("POST", "/api/proposals/{id}/cancel", query=OF_AGENT),))
async def cancel(call: Call, asked: DenyInput) -> Card:
    """End an approved id before hive commits it to meta."""
    deploy = await call.service.proposals.cancel(asked.id, call.who, asked.reason, asked.agent)
    return await call.service.cards.of(deploy)


PROPOSALS = (
    propose,
    pending,
    refused,
    waiting_tips,
    proposal,
    diff,
    build_log,
    approve,
    challenge,
    deny,
    retry,
    rebase,
    cancel,
)
