"""What the manager is told: the mapping from hive's events, and that it is in the event's own transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from functools import partial
from typing import get_args

import pytest

from meta.errors import TransientError
from meta.model import Deploy, DeployKind, TagState
from meta.names import MANAGER, AgentName, ProposalId, Sha
from meta.wire import events as wire
from meta.wire.common import ApprovalStatus
from meta.wire.events import HELPER_EVENT, HelperEvent
from reconciler.events.feed import Events
from reconciler.plan.observed import Memo
from reconciler.store.cards import Cards
from reconciler.store.database import Database
from reconciler.store.events import keys, log
from reconciler.store.events.helper_events import helper_events
from reconciler.store.events.kinds import EVENT_KINDS
from reconciler.store.memos import Memos

ALICE = AgentName("alice")
SHA = Sha("a" * 40)
WAY = (TagState.PROPOSAL, TagState.APPROVED, TagState.BUILDING)


@pytest.fixture
async def cards(db: Database) -> Cards:
    """Of a hive whose manager runs."""
    made = Cards(db, clock=lambda: 2_000.0)
    seed = replace(deploy(0, TagState.DEPLOYED), agent=MANAGER, kind=DeployKind.SPAWN, approved_by=None)
    await made.project(MANAGER, [seed], "s")
    return made


def deploy(id: int, state: TagState = TagState.PROPOSAL) -> Deploy:
    return Deploy(
        ALICE,
        ProposalId(id),
        DeployKind.APPLY_COMMIT,
        state,
        SHA,
        None,
        "aaaaaaa",
        "main",
        "more memory",
        1_000,
        "manager",
        approved_by="operator" if state in (*WAY[1:], TagState.DEPLOYED, TagState.FAILED) else None,
        resolved_at=1_500,
    )


async def go(cards: Cards, end: Deploy, way: tuple[TagState, ...] = WAY) -> None:
    """Through the states, with a projection at each, and the last one twice."""
    for state in (*way, end.state, end.state):
        at = replace(end, state=state, reason=end.reason if state is end.state else None)
        await cards.project(end.agent, [at], str(state))


async def managers_events(db: Database, inbox: str = "manager") -> list[HelperEvent]:
    def query(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
        return connection.execute(
            "SELECT sender, origin, body FROM messages WHERE recipient = ? ORDER BY id", (inbox,)
        ).fetchall()

    rows = await db.read(query)
    assert {(sender, origin) for sender, origin, _ in rows} <= {("system", "system")}
    return [HELPER_EVENT.validate_json(body) for _, _, body in rows]


def resolved(id: int, status: ApprovalStatus, tag: str, note: str | None = None) -> HelperEvent:
    return wire.ApprovalResolved(
        id=id, agent="alice", commit_ref="aaaaaaa", status=status, note=note, sha=SHA, tag=f"{tag}/{id}"
    )


async def test_a_deploy_is_told_as_rebuilt_and_resolved_once_and_only_after_its_last_tag(
    db: Database, cards: Cards
) -> None:
    for state in WAY:
        await cards.project(ALICE, [deploy(7, state)], str(state))
        assert await managers_events(db) == []
    await go(cards, deploy(7, TagState.DEPLOYED), ())
    assert await managers_events(db) == [
        wire.Rebuilt(agent="alice", ok=True, sha=SHA, tag="deployed/7"),
        resolved(7, ApprovalStatus.APPROVED, "deployed"),
    ]


async def test_a_deploy_that_fails_says_why_with_the_commit_and_the_tag(db: Database, cards: Cards) -> None:
    await go(cards, replace(deploy(7, TagState.FAILED), reason="no harness"))
    assert await managers_events(db) == [
        wire.Rebuilt(agent="alice", ok=False, note="no harness", sha=SHA, tag="failed/7"),
        resolved(7, ApprovalStatus.FAILED, "failed", "no harness"),
    ]


async def test_a_denial_is_told_as_resolved_and_nothing_was_rebuilt(db: Database, cards: Cards) -> None:
    await go(cards, replace(deploy(7, TagState.DENIED), reason="no", by="operator"), WAY[:1])
    assert await managers_events(db) == [resolved(7, ApprovalStatus.DENIED, "denied", "no")]


async def test_a_rollback_needs_no_approval_so_none_is_resolved(db: Database, cards: Cards) -> None:
    await go(cards, replace(deploy(7, TagState.DEPLOYED), kind=DeployKind.ROLLBACK))
    assert await managers_events(db) == [wire.Rebuilt(agent="alice", ok=True, sha=SHA, tag="deployed/7")]


async def test_an_approved_spawn_is_told_as_spawned_and_resolved(db: Database, cards: Cards) -> None:
    end = replace(deploy(7, TagState.DEPLOYED), kind=DeployKind.SPAWN, commit_ref="", source="seed")
    await go(cards, end)
    approved = wire.ApprovalResolved(
        id=7, agent="alice", commit_ref="", status=ApprovalStatus.APPROVED, tag="deployed/7"
    )
    assert await managers_events(db) == [approved, wire.Spawned(agent="alice", ok=True, sha=SHA)]


async def test_a_spawn_that_fails_has_no_sha(db: Database, cards: Cards) -> None:
    await go(cards, replace(deploy(7, TagState.FAILED), kind=DeployKind.SPAWN, commit_ref="", reason="taken"))
    failed = wire.ApprovalResolved(
        id=7, agent="alice", commit_ref="", status=ApprovalStatus.FAILED, note="taken", tag="failed/7"
    )
    assert await managers_events(db) == [wire.Spawned(agent="alice", ok=False, note="taken"), failed]


@pytest.mark.parametrize(("id", "source"), [(0, "seed"), (0, "spawn"), (9, "spawn")])
async def test_a_spawn_without_an_approval_resolves_none(db: Database, cards: Cards, id: int, source: str) -> None:
    await go(cards, replace(deploy(id, TagState.DEPLOYED), kind=DeployKind.SPAWN, source=source))
    assert await managers_events(db) == [wire.Spawned(agent="alice", ok=True, sha=SHA)]


async def test_after_the_loss_of_the_database_old_stories_are_not_told_again(db: Database, cards: Cards) -> None:
    await cards.project(ALICE, [deploy(1, TagState.DEPLOYED), deploy(2, TagState.FAILED)], "s")
    assert await managers_events(db) == []


async def test_what_is_taken_back_and_happens_again_is_told_again(db: Database, cards: Cards) -> None:
    await go(cards, deploy(7, TagState.DEPLOYED))
    await cards.project(ALICE, [deploy(7, TagState.BUILDING)], "back")
    await go(cards, replace(deploy(7, TagState.FAILED), reason="why"), ())
    assert [event.model_dump().get("status") for event in await managers_events(db)][-1] == ApprovalStatus.FAILED


async def test_a_hive_without_a_manager_tells_nobody(db: Database) -> None:
    await go(Cards(db), deploy(7, TagState.DEPLOYED))
    assert await managers_events(db) == []


async def test_notice_and_event_are_there_together_or_not_at_all(db: Database, cards: Cards) -> None:
    def cut_off(connection: sqlite3.Connection) -> None:
        log.append(connection, 1.0, "agent_destroyed", ALICE, {})
        raise TransientError("cut off")

    with pytest.raises(TransientError):
        await db.write(cut_off)
    assert await managers_events(db) == []
    append = partial(
        log.append, at=1.0, kind="container_crash", agent=ALICE, data={"why": "code 3"}, key=keys.crashed(ALICE, "k")
    )
    for _ in range(2):
        await db.write(append)
    assert await managers_events(db) == [wire.ContainerCrash(agent="alice", note="code 3")]


async def test_each_that_appends_events_calls_back_after_the_commit_and_only_then(db: Database) -> None:
    woken: list[int] = []
    events = Events(db, on_append=lambda: woken.append(1))
    cards = Cards(db, on_append=lambda: woken.append(1))
    memos = Memos(db, on_append=lambda: woken.append(1))
    await events.append("agent_destroyed", ALICE, {}, key=keys.crashed(ALICE, "k"))
    await events.append("agent_destroyed", ALICE, {}, key=keys.crashed(ALICE, "k"))
    assert len(woken) == 1
    await cards.project(ALICE, [deploy(7)], "s")
    await cards.project(ALICE, [deploy(7)], "s")
    assert len(woken) == 2
    await memos.save(ALICE, Memo(crashes=1))
    assert len(woken) == 2
    await memos.save(ALICE, Memo(needs_login=True), ("agent_needs_login", 1.0))
    assert len(woken) == 3
    await memos.forget(ALICE, ("agent_destroyed", 2.0))
    assert len(woken) == 4
    await events.close()


OTHERS: list[tuple[str, dict[str, object], HelperEvent | None]] = [
    ("agent_rebuilt", {"id": 3}, wire.Rebuilt(agent="alice", ok=True)),
    ("agent_rebuild_failed", {"error": "full"}, wire.Rebuilt(agent="alice", ok=False, note="full")),
    ("agent_stopped", {"transient": "stopping"}, wire.Killed(agent="alice")),
    ("agent_stopped", {"transient": "restarting"}, None),
    ("agent_stopped", {"transient": "switching"}, None),
    ("agent_stopped", {"transient": "destroying"}, None),
    ("agent_destroyed", {}, wire.Destroyed(agent="alice")),
    ("agent_needs_login", {}, wire.NeedsLogin(agent="alice")),
    ("agent_logged_in", {}, wire.LoggedIn(agent="alice")),
    ("agent_needs_update", {}, wire.NeedsUpdate(agent="alice")),
    ("container_crash", {"why": "killed by signal 9"}, wire.ContainerCrash(agent="alice", note="killed by signal 9")),
    ("agent_started", {}, None),
    ("daemon_started", {}, None),
]


@pytest.mark.parametrize(("kind", "data", "expected"), OTHERS)
def test_what_each_other_event_means(kind: str, data: dict[str, object], expected: HelperEvent | None) -> None:
    assert kind in EVENT_KINDS
    assert helper_events(kind, "alice", data) == (() if expected is None else (expected,))
    assert helper_events(kind, None, data) == ()


def test_of_itself_the_manager_is_told_only_what_it_did_not_do() -> None:
    of_itself = {kind for kind, data, _ in OTHERS if helper_events(kind, MANAGER, data)}
    assert of_itself == {"agent_rebuilt", "agent_rebuild_failed", "container_crash", "agent_needs_update"}
    spawn = {"id": 0, "kind": "spawn", "sha": SHA}
    assert helper_events("agent_spawned", MANAGER, spawn) == helper_events("deploy_failed", MANAGER, spawn) == ()


def test_every_helper_event_of_the_manager_comes_from_some_event() -> None:
    union, *_ = get_args(HelperEvent)
    ids: dict[str, object] = {"id": 7, "kind": "apply_commit"}
    cases = [*((kind, data) for kind, data, _ in OTHERS), ("deploy_succeeded", ids), ("agent_spawned", ids)]
    made = {type(event) for kind, data in cases for event in helper_events(kind, "alice", data)}
    assert made == {*get_args(union)} - {wire.QuestionAsked, wire.QuestionAnswered, wire.MessageDead}


@pytest.mark.parametrize("data", [{}, {"id": "7"}, {"id": None, "note": 3, "sha": []}, {"kind": "no such"}])
def test_an_event_of_another_hive_with_other_fields_breaks_nothing(data: dict[str, object]) -> None:
    for kind in EVENT_KINDS:
        for event in helper_events(kind, "alice", data):
            HELPER_EVENT.validate_json(HELPER_EVENT.dump_json(event))
