"""Which tags contradict meta."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta.model import TagState
from meta.names import ProposalId
from reconciler.plan.contradiction import contradicts_meta
from tests.support.plan_model import deploy, sha

OLD, NEW = sha(1), sha(2)


@pytest.mark.parametrize("state", [TagState.FAILED, TagState.DENIED])
def test_a_failed_or_denied_id_contradicts_a_meta_that_has_its_commit(state: TagState) -> None:
    ended = deploy(7, state)
    assert contradicts_meta(ended, {NEW}, {ended.agent: {ProposalId(7): NEW}})
    assert not contradicts_meta(ended, {NEW}, {ended.agent: {ProposalId(6): NEW}})


def test_a_deployed_id_contradicts_a_meta_whose_main_lacks_its_commit() -> None:
    deployed = replace(deploy(7, TagState.DEPLOYED), meta_commit=OLD)
    assert contradicts_meta(deployed, {NEW}, {})
    assert not contradicts_meta(deployed, {OLD, NEW}, {})


@pytest.mark.parametrize("state", [TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING])
def test_an_open_id_contradicts_nothing(state: TagState) -> None:
    pending = deploy(7, state)
    assert not contradicts_meta(pending, {NEW}, {pending.agent: {ProposalId(7): NEW}})
