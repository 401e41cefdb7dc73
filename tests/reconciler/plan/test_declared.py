"""What hive does about a declared agent, for each way in which the declaration, git and their base can stand."""

from __future__ import annotations

from itertools import product

import pytest

from meta.model import Deploy, DeployKind, TagState
from meta.names import AgentName, ProposalId, Sha
from reconciler.plan.declared import Act, Facts, Git, Offer, Standing, Verdict, base_of, decide, is_left, tried_for

PIN, OLD = Sha("a" * 40), Sha("b" * 40)
SAME = Git(PIN, True, agrees=True, unchanged=True, moved=False)
MOVED = Git(PIN, True, agrees=False, unchanged=True, moved=True)
CHANGED = Git(PIN, True, agrees=False, unchanged=False, moved=False)
BOTH = Git(PIN, True, agrees=False, unchanged=False, moved=True)
STOPPED = Git(PIN, False, agrees=True, unchanged=True, moved=False)
CAUGHT_UP = Git(PIN, True, agrees=True, unchanged=False, moved=True)


def offer(id: int = 7, *, onto: Sha = PIN, same: bool = True) -> Offer:
    return Offer(ProposalId(id), TagState.PROPOSAL, onto, same)


TABLE = {
    "a new agent is spawned": (Facts(True, None), Verdict(Act.SPAWN, Standing.DEPLOYING)),
    "a spawn under way is left alone": (Facts(True, None, busy=True), Verdict(Act.NOTHING, Standing.DEPLOYING)),
    "a spawn waits for the purge of an earlier agent": (
        Facts(True, None, purging=True),
        Verdict(Act.NOTHING, Standing.DEPLOYING),
    ),
    "a spawn that failed is not tried again": (
        Facts(True, None, tried=TagState.FAILED),
        Verdict(Act.NOTHING, Standing.FAILED),
    ),
    "an unchanged declaration does nothing": (Facts(True, SAME), Verdict(Act.NOTHING, Standing.AGREES)),
    "a change by git alone is left alone": (Facts(True, MOVED), Verdict(Act.NOTHING, Standing.GIT_MOVED)),
    "a change of the declaration is proposed": (Facts(True, CHANGED), Verdict(Act.PROPOSE, Standing.DEPLOYING)),
    "its proposal is approved": (
        Facts(True, CHANGED, offers=(offer(),)),
        Verdict(Act.APPROVE, Standing.DEPLOYING, ProposalId(7)),
    ),
    "a change by both is proposed": (Facts(True, BOTH), Verdict(Act.PROPOSE, Standing.CONFLICT)),
    "its proposal waits for a person": (
        Facts(True, BOTH, offers=(offer(),)),
        Verdict(Act.NOTHING, Standing.CONFLICT, ProposalId(7)),
    ),
    "a proposal that git left behind is made again": (
        Facts(True, BOTH, offers=(offer(onto=OLD),)),
        Verdict(Act.PROPOSE, Standing.CONFLICT),
    ),
    "a proposal of an older declaration is replaced": (
        Facts(True, CHANGED, offers=(offer(same=False),)),
        Verdict(Act.PROPOSE, Standing.DEPLOYING),
    ),
    "a proposal that nothing needs any more is withdrawn": (
        Facts(True, SAME, offers=(offer(same=False),)),
        Verdict(Act.WITHDRAW, Standing.AGREES, ProposalId(7)),
    ),
    "a proposal is withdrawn when the declaration is taken back": (
        Facts(True, MOVED, offers=(offer(same=False),)),
        Verdict(Act.WITHDRAW, Standing.GIT_MOVED, ProposalId(7)),
    ),
    "git that came to the same by itself agrees": (Facts(True, CAUGHT_UP), Verdict(Act.NOTHING, Standing.AGREES)),
    "what a person denied is not asked again": (
        Facts(True, BOTH, tried=TagState.DENIED),
        Verdict(Act.NOTHING, Standing.DENIED),
    ),
    "what failed is not tried again": (
        Facts(True, CHANGED, tried=TagState.FAILED),
        Verdict(Act.NOTHING, Standing.FAILED),
    ),
    "what was deployed and then left by git is proposed again": (
        Facts(True, BOTH, tried=TagState.DEPLOYED),
        Verdict(Act.PROPOSE, Standing.CONFLICT),
    ),
    "a deploy under way is waited for": (
        Facts(True, CHANGED, busy=True),
        Verdict(Act.NOTHING, Standing.DEPLOYING),
    ),
    "an agent that was never declared is none of its business": (
        Facts(False, SAME),
        Verdict(Act.NOTHING, Standing.NONE),
    ),
    "an agent that is declared no more is stopped": (
        Facts(False, SAME, known=True),
        Verdict(Act.STOP, Standing.REMOVED),
    ),
    "one that git had before goes on": (Facts(False, SAME, known=True, kept=True), Verdict(Act.FORGET, Standing.NONE)),
    "its waiting proposal goes first": (
        Facts(False, SAME, known=True, kept=True, offers=(offer(),)),
        Verdict(Act.WITHDRAW, Standing.NONE, ProposalId(7)),
    ),
    "one that an older hive stopped is left to hive start": (
        Facts(False, STOPPED, known=True, kept=True, dropped=True),
        Verdict(Act.NOTHING, Standing.REMOVED),
    ),
    "its waiting proposal is withdrawn": (
        Facts(False, SAME, known=True, offers=(offer(),)),
        Verdict(Act.WITHDRAW, Standing.REMOVED, ProposalId(7)),
    ),
    "then it is left to hive destroy": (
        Facts(False, STOPPED, known=True, dropped=True),
        Verdict(Act.NOTHING, Standing.REMOVED),
    ),
    "a person who starts it keeps it": (
        Facts(False, SAME, known=True, dropped=True),
        Verdict(Act.FORGET, Standing.NONE),
    ),
    "a destroyed one is forgotten": (Facts(False, None, known=True), Verdict(Act.FORGET, Standing.NONE)),
    "a spawn is waited for before it is forgotten": (
        Facts(False, None, known=True, busy=True),
        Verdict(Act.NOTHING, Standing.NONE),
    ),
    "an agent that is declared again is started": (
        Facts(True, STOPPED, known=True, dropped=True),
        Verdict(Act.START, Standing.DEPLOYING),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_each_situation_has_its_act(case: str) -> None:
    facts, verdict = TABLE[case]
    assert decide(facts) == verdict


def test_nothing_is_approved_that_git_would_lose() -> None:
    bools = (True, False)
    for agrees, unchanged, moved, busy, dropped in product(bools, repeat=5):
        for tried in (None, *TagState):
            for offers in ((), (offer(),), (offer(same=False),), (offer(onto=OLD),)):
                git = Git(PIN, True, agrees, unchanged, moved)
                verdict = decide(Facts(True, git, True, False, dropped, busy, False, tried, offers))
                if verdict.act is Act.APPROVE:
                    assert not (moved or agrees or unchanged or busy)
                    assert offers == (offer(),)


def deploy(
    id: int,
    sha: Sha,
    state: TagState = TagState.DEPLOYED,
    kind: DeployKind = DeployKind.APPLY_COMMIT,
    declared: str = "",
) -> Deploy:
    return Deploy(
        AgentName("alice"), ProposalId(id), kind, state, sha, None, sha, "declared#agent", "", 0, "x", declared=declared
    )


def test_the_base_is_the_newest_commit_at_which_both_agreed() -> None:
    first, second = deploy(1, OLD), deploy(5, PIN)
    assert base_of([], None) is None
    assert base_of([first, second], None) == (5, PIN)
    assert base_of([first, deploy(5, PIN, TagState.FAILED)], None) == (1, OLD)
    assert base_of([first], (ProposalId(3), PIN)) == (3, PIN)
    assert base_of([second], (ProposalId(3), OLD)) == (5, PIN)


def test_the_base_is_left_by_what_was_deployed_since_but_for_the_hosts_own_spawn() -> None:
    base = ProposalId(3)
    assert not is_left(base, [deploy(1, OLD), deploy(3, PIN), deploy(4, OLD, TagState.FAILED)], lambda _: False)
    assert is_left(base, [deploy(3, PIN), deploy(4, OLD, kind=DeployKind.ROLLBACK)], lambda _: True)
    spawn = deploy(4, OLD, kind=DeployKind.SPAWN)
    assert not is_left(base, [spawn], lambda _: True)
    assert is_left(base, [spawn], lambda _: False)


def test_an_id_for_the_same_declaration_counts_as_tried_unless_it_was_seen_before() -> None:
    deploys = [deploy(1, OLD, declared="d"), deploy(4, PIN, declared="d"), deploy(5, PIN, declared="e"), deploy(6, PIN)]
    assert tried_for("d", deploys, None) == 4
    assert tried_for("d", deploys, ProposalId(3)) == 4
    assert tried_for("d", deploys, ProposalId(4)) is None
    assert tried_for("x", deploys, None) is None
