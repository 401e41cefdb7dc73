"""With a builder that previews, what waits for a decision is evaluated when nothing else is to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import Candidate, TagState
from meta.names import ProposalId
from reconciler.plan import steps
from tests.support.plan_model import Model, deploy, entry, generation, running, sha


def previewing() -> Model:
    """alice runs, the proposals 7 and 8 wait."""
    model = running()
    model.set(previewed=frozenset())
    model.deploys |= {number: deploy(number, TagState.PROPOSAL) for number in (7, 8)}
    return model


def test_each_pending_proposal_is_previewed_once_oldest_first() -> None:
    model = previewing()
    assert model.decide().step == steps.Preview(ProposalId(7))
    assert model.settle().phase == "running"
    assert model.done == ["preview", "preview"]


def test_a_builder_without_previews_makes_none() -> None:
    model = previewing()
    model.set(previewed=None)
    assert isinstance(model.decide().step, steps.Nothing)


def test_a_deploy_and_a_repair_come_before_any_preview() -> None:
    model = previewing()
    model.deploys[9] = deploy(9, TagState.APPROVED)
    model.settle()
    assert model.done[-2:] == ["preview", "preview"]
    model.done.clear()
    model.set(previewed=frozenset(), proposed=False)
    model.settle()
    assert model.done[0] == "furnish"


@pytest.mark.parametrize("state", [TagState.PROPOSAL, TagState.APPROVED])
def test_the_candidate_of_a_preview_that_was_cut_short_goes_before_anything_is_built_from_it(state: TagState) -> None:
    model = previewing()
    model.deploys[7] = replace(model.deploys[7], state=state)
    model.set(candidates={ProposalId(7): Candidate(sha(900), entry(7))})
    assert model.decide().step == steps.Drop(ProposalId(7))


def test_what_is_decided_is_not_previewed() -> None:
    model = previewing()
    for number in (7, 8):
        model.move(number, TagState.DENIED)
    assert isinstance(model.decide().step, steps.Nothing)


def test_the_candidate_of_a_preview_that_runs_is_no_leftover() -> None:
    model = previewing()
    model.set(candidates={ProposalId(7): Candidate(sha(900), entry(7))}, previewing=ProposalId(7))
    assert model.decide().step == steps.Preview(ProposalId(7))


def test_what_a_denied_proposal_was_built_into_goes() -> None:
    model = previewing()
    model.set(previewed=frozenset({ProposalId(7), ProposalId(8)}))
    model.set(built={**model.seen.built, ProposalId(7): generation(7)})
    assert isinstance(model.decide().step, steps.Nothing)
    model.move(7, TagState.DENIED)
    assert model.decide().step == steps.Drop(ProposalId(7))
    assert model.settle().phase == "running"
    assert ProposalId(7) not in model.seen.built
