"""The rules of discovery: which tips become proposals."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.applied.source import Source, SourceKind
from meta.layout import Layout
from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.proposed.tips import Tip
from reconciler.proposals.tips import NewTip, address, agent_of, is_proposable, new_tips

ALICE = AgentName("alice")
A, B, C = (Sha(letter * 40) for letter in "abc")
DEPLOY = Deploy(
    agent=ALICE,
    id=ProposalId(1),
    kind=DeployKind.APPLY_COMMIT,
    state=TagState.PROPOSAL,
    sha=A,
    base=None,
    commit_ref=A,
    source="proposed/push.git#main",
    description="",
    requested_at=0,
    proposed_by="push",
)


def fresh(
    kind: SourceKind, *tips: Tip, seen: dict[str, Sha] | None = None, deploys: Iterable[Deploy] = ()
) -> list[str]:
    found = new_tips(kind, tips, seen or {}, deploys, main=None, auto_propose=False)
    return [f"{each.source} {each.tip.sha[0]}" for each in found]


@pytest.mark.parametrize(
    ("kind", "branch", "auto", "wanted"),
    [
        (SourceKind.PUSH, "main", False, True),
        (SourceKind.PUSH, "anything/at/all", False, True),
        (SourceKind.WORK_TREE, "main", False, False),
        (SourceKind.WORK_TREE, "main", True, True),
        (SourceKind.WORK_TREE, "propose/topic", False, True),
        (SourceKind.WORK_TREE, "propose", True, False),
        (SourceKind.WORK_TREE, "topic", True, False),
    ],
)
def test_every_pushed_branch_counts_and_of_a_tree_those_meant_for_it(
    kind: SourceKind, branch: str, auto: bool, wanted: bool
) -> None:
    assert is_proposable(kind, branch, auto) is wanted


def test_a_tip_is_found_once_per_branch() -> None:
    seen = {"proposed/push.git#main": A}
    assert fresh(SourceKind.PUSH, Tip("main", A), seen=seen) == []
    assert fresh(SourceKind.PUSH, Tip("main", B), seen=seen) == ["proposed/push.git#main b"]
    assert fresh(SourceKind.PUSH, Tip("other", A), seen=seen) == ["proposed/push.git#other a"]


@pytest.mark.parametrize("state", list(TagState))
def test_what_the_tags_know_is_not_found_again_when_the_store_is_gone(state: TagState) -> None:
    assert fresh(SourceKind.PUSH, Tip("main", A), deploys=[replace(DEPLOY, state=state)]) == []


def test_a_denied_commit_on_another_branch_is_found() -> None:
    denied = replace(DEPLOY, state=TagState.DENIED)
    assert fresh(SourceKind.PUSH, Tip("again", A), deploys=[denied]) == ["proposed/push.git#again a"]


def test_what_was_deployed_is_nothing_to_propose() -> None:
    old = replace(DEPLOY, state=TagState.DEPLOYED, source="seed")
    assert fresh(SourceKind.PUSH, Tip("main", A), Tip("other", B), deploys=[old]) == ["proposed/push.git#other b"]
    assert new_tips(SourceKind.PUSH, [Tip("main", C)], {}, [], main=C, auto_propose=False) == ()


def test_who_pushed_is_the_owner_of_the_ref() -> None:
    assert NewTip(Source.of(SourceKind.PUSH, "main"), Tip("main", A, 1000)).by == "push by uid 1000"
    assert NewTip(Source.of(SourceKind.PUSH, "main"), Tip("main", A)).by == "push"
    assert NewTip(Source.of(SourceKind.WORK_TREE, "main"), Tip("main", A, 1000)).by == "manager"


@pytest.mark.parametrize(
    ("path", "agent"),
    [
        ("proposed/alice", "alice"),
        ("proposed/alice/push.git", "alice"),
        ("push/alice.git", "alice"),
        ("push/alice.git/refs/heads/x", "alice"),
        ("push/alice.git/packed-refs", "alice"),
        ("push/alice.git/hooks", "alice"),
        ("proposed/alice/config/.git/refs/heads/propose/x", "alice"),
        ("proposed/alice/config/.git/packed-refs", "alice"),
        ("proposed/alice/config/.git/index", None),
        ("proposed/alice/config/.git/COMMIT_EDITMSG", None),
        ("push/alice.git/refs/heads/x.lock", None),
        ("push/aside", None),
        ("push", None),
        ("proposed", None),
        ("elsewhere", None),
    ],
)
def test_a_hint_says_whose_repos_to_look_at(path: str, agent: str | None) -> None:
    layout = Layout(Path("/s"), Path("/r"))
    assert agent_of(layout, Path(os.path.normpath(layout.state / path))) == agent


def test_a_pushed_branch_is_printed_with_the_address_of_the_repo_not_with_the_recorded_text() -> None:
    assert address(Source.of(SourceKind.PUSH, "den"), ALICE) == "push/alice.git branch den"
    assert address(Source.of(SourceKind.PUSH), ALICE) == "push/alice.git"
    assert address(Source.of(SourceKind.WORK_TREE, "propose/x"), ALICE) == "proposed/config#propose/x"
