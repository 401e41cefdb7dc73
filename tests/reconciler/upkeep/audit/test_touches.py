"""The touch of a passkey behind an approval: an audit checks it from the tag alone, without a daemon or a network."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from meta.applied import tags
from meta.applied.repo import Applied
from meta.applied.tags import ReadTag
from meta.consent import ApprovalCard, Assertion, Consent, How, challenge
from meta.git.message import Message
from meta.layout import Layout
from meta.model import TagState
from meta.names import ProposalId, Sha
from reconciler.access.passkeys import Holder, Passkey, Passkeys
from reconciler.common.touch import RelyingParty, read_touch
from reconciler.store.database import Database
from reconciler.upkeep.audit.passkeys import Known, passkey_findings
from reconciler.upkeep.audit.rules import FAULT, NOTE
from reconciler.upkeep.audit.touches import touch_findings
from reconciler.upkeep.audit.verify import verify
from tests.support.authenticator import SoftKey, b64
from tests.support.hive_state import ALICE, AT, BY, make, propose_edit

SITE = RelyingParty("http://localhost:8420", "localhost")
ANNA = Holder(BY, 1000, session="s")
TWO = ProposalId(2)
SHA = Sha("7" * 40)


@pytest.fixture
async def layout(tmp_path: Path) -> Layout:
    return await make(tmp_path)


async def approve(layout: Layout, key: SoftKey | None = None) -> None:
    """Approve id 2 of alice by a touch. Without `key` a passkey is added for it."""
    applied, known = Applied(layout, ALICE), key is not None
    key = key or SoftKey()
    sha = await propose_edit(applied, 2)
    async with await Database.open(layout.database) as database:
        passkeys = Passkeys(database, SITE, required=True, clock=lambda: AT)
        if not known:
            await passkeys.add(ANNA, key.create((await passkeys.offer(ANNA)).options), "phone")
        options = await passkeys.ask_approval(ANNA, passkeys.card(ALICE, 2, sha, "", unseen=False))
        approved = await passkeys.consent(ANNA, {"id": 2}, key.touch(options))
    await applied.transition(TWO, TagState.APPROVED, by=BY, at=AT, consent=approved.consent)


def touched(key: SoftKey, site: RelyingParty = SITE, shown: str = "") -> Assertion:
    """A record of a touch for id 2 of alice, as a daemon writes it."""
    card, nonce = ApprovalCard("uuid", ALICE, 2, SHA, shown), bytes(32)
    asked = json.dumps({"challenge": b64(challenge(nonce, asdict(card))), "rpId": site.rp})
    touch = read_touch(replace(key, origin=site.origin).touch(asked))
    parts = (touch.credential, key.public, touch.authenticator_data, touch.client_data, touch.signature)
    return Assertion(card, nonce, BY, *parts, site.origin, site.rp, AT)


def checked(record: Assertion, known: Known | None, by: str = BY) -> list[str]:
    """What an audit says of a tag with this record."""
    trailers = {tags.BY: by, **Consent(How.PASSKEY, record.encode()).trailers()}
    tag = ReadTag(SHA, SHA, AT, Message("", "", trailers))
    found = touch_findings({ALICE: {TWO: {TagState.APPROVED: tag}}}, known)
    return [f"{each.level}: {each.text}" for each in found]


def known_as(soft: SoftKey, **values: Any) -> Known:
    passkey = Passkey(soft.name, BY, 1000, "", "phone", soft.public, 1, AT)
    return Known("uuid", {soft.name: replace(passkey, **values)}, {soft.name: SITE.rp}, frozenset({SITE.origin}))


def sql(layout: Layout, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(layout.database, isolation_level=None)) as database:
        database.execute(statement)


async def faults(layout: Layout) -> list[str]:
    report = await verify(layout)
    return [f"{each.level} {each.rule}: {each.text}" for each in report.findings]


async def test_a_touch_holds_and_the_list_of_approvals_names_it(layout: Layout) -> None:
    await approve(layout)
    report = await verify(layout)
    assert report.findings == ()
    assert [(each.id, each.consent) for each in report.approvals] == [(0, ""), (1, ""), (2, "passkey")]


def _card(**values: Any) -> Callable[[Assertion], Assertion]:
    return lambda record: replace(record, card=replace(record.card, **values))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_card(unseen=True), "does not hold: the touch is not valid"),
        (_card(shown="f" * 20), "was for the preview ffff"),
        (_card(id=1), "was to approve 1 of alice"),
        (_card(agent="bob"), "was to approve 2 of bob"),
        (_card(action="log-in"), "was to log-in 2"),
        (_card(commit="1" * 40), "was for commit 111111111111"),
        (lambda record: replace(record, nonce=record.nonce[1:]), "has a nonce of another length"),
        (lambda record: replace(record, signature=record.signature[::-1]), "does not hold"),
        (lambda record: replace(record, origin="http://localhost:1"), "does not hold"),
        (lambda record: replace(record, key=b"\xa0"), "does not hold"),
        (lambda record: replace(record, key=b""), "does not hold"),
        (lambda record: replace(record, key=bytes.fromhex("d81c81d81d00")), "does not hold"),
        (lambda record: replace(record, authenticator_data=b""), "does not hold"),
        (lambda record: replace(record, by="operator uid 7"), "is of operator uid 7"),
        (lambda record: replace(record, at=AT - 86_400), "does not belong to this tag"),
    ],
)
def test_a_record_that_was_changed_is_a_fault(change: Callable[[Assertion], Assertion], why: str) -> None:
    key = SoftKey()
    assert checked(touched(key), known_as(key)) == []
    [fault] = checked(change(touched(key)), known_as(key))
    assert fault.startswith(f"fault: the touch of approved/2 {why}")


def test_an_approval_under_another_name_than_the_touch_is_a_fault() -> None:
    key = SoftKey()
    assert checked(touched(key), known_as(key), by="operator uid 0") == [
        "fault: the touch of approved/2 is of operator uid 1000, the approval of operator uid 0"
    ]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"removed_at": AT - 1}, "which had been removed"),
        ({"added_at": AT + 1}, "is older than its passkey"),
        ({"owner": "operator ben"}, "of operator ben"),
        ({"key": b""}, "is of another passkey"),
    ],
)
def test_a_passkey_has_to_have_been_the_approvers_at_that_time(row: dict[str, Any], why: str) -> None:
    key = SoftKey()
    [fault] = checked(touched(key), known_as(key, **row))
    assert fault.startswith("fault: the touch of approved/2")
    assert why in fault


async def test_a_passkey_that_was_put_in_place_of_another_one_is_a_fault(layout: Layout) -> None:
    await approve(layout)
    sql(layout, "UPDATE passkeys SET public_key = x'a0'")
    rows = await faults(layout)
    assert [row.split(":")[0] for row in rows] == ["fault passkey", "fault touch"]
    sql(layout, "DELETE FROM passkeys")
    rows = await faults(layout)
    assert "which is gone" in rows[0]
    assert "which was never added" in rows[1]


async def test_a_passkey_whose_row_no_event_tells_of_is_a_fault(layout: Layout) -> None:
    key = SoftKey()
    async with await Database.open(layout.database):
        pass
    with contextlib.closing(sqlite3.connect(layout.database, isolation_level=None)) as database:
        database.execute(
            "INSERT INTO passkeys (id, owner, uid, name, public_key, sign_count, added_at) "
            "VALUES (?, ?, 1000, 'x', ?, 0, ?)",
            (key.name, BY, key.public, AT - 1),
        )
    await approve(layout, key)
    assert await faults(layout) == [
        f"fault passkey: the passkey {key.name[:20]} of {BY} was added without an event: hive did not add it"
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("removed_at = NULL, removed_by = NULL", "is there again, after event"),
        (f"removed_at = {AT + 1}", "has another time of its removal"),
        (f"added_at = {AT - 100}", "has another time of its addition"),
    ],
)
async def test_a_removed_passkey_whose_row_was_changed_approves_nothing(layout: Layout, change: str, why: str) -> None:
    key = SoftKey()
    async with await Database.open(layout.database) as database:
        passkeys = Passkeys(database, SITE, required=False, clock=lambda: AT - 50)
        added = await passkeys.add(ANNA, key.create((await passkeys.offer(ANNA)).options), "phone")
        await passkeys.remove(ANNA, added.id)
    sql(layout, "UPDATE passkeys SET removed_at = NULL, removed_by = NULL")
    await approve(layout, key)
    sql(layout, f"UPDATE passkeys SET removed_at = {AT - 50}, removed_by = 'x'")
    sql(layout, f"UPDATE passkeys SET {change}")
    rows = await faults(layout)
    assert why in rows[0]
    assert rows[-1] == f"fault touch: the touch of approved/2 is of the passkey {key.name[:20]}, which had been removed"


@pytest.mark.parametrize(("since", "level"), [(0, FAULT), (AT, FAULT), (AT + 1, NOTE)])
def test_a_passkey_older_than_the_events_is_only_a_note(since: float, level: str) -> None:
    [row] = known_as(SoftKey()).passkeys.values()
    assert [each.level for each in passkey_findings([row], [], since)] == [level]


def test_a_touch_whose_tag_lost_the_preview_is_a_fault() -> None:
    key = SoftKey()
    assert checked(touched(key, shown="f" * 20), known_as(key)) == [
        f"fault: the touch of approved/2 was for the preview {'f' * 20}, not none"
    ]


def test_a_touch_for_another_site_is_a_fault_and_for_another_port_a_warning() -> None:
    key = SoftKey()
    [other] = checked(touched(key, RelyingParty("https://evil.example", "evil.example")), known_as(key))
    assert other.startswith("fault: the touch of approved/2 was made for evil.example")
    [port] = checked(touched(key, RelyingParty("http://localhost:9", "localhost")), known_as(key))
    assert port.startswith("warning: the touch of approved/2 was asked for by http://localhost:9")


async def test_without_the_database_of_that_time_the_signature_holds_and_its_owner_is_unknown(layout: Layout) -> None:
    await approve(layout)
    layout.database.unlink()
    rows = await faults(layout)
    assert rows[0].startswith("note no-database")
    assert rows[1] == (
        "warning touch: the touch of approved/2 was made with another database, so that "
        "nothing tells whose passkey it was"
    )


async def test_a_tag_that_only_says_that_there_was_a_touch_is_a_fault(layout: Layout) -> None:
    applied = Applied(layout, ALICE)
    await propose_edit(applied, 2)
    await applied.transition(TWO, TagState.APPROVED, by=BY, at=AT, consent=Consent(How.PASSKEY))
    assert await faults(layout) == ["fault touch: approved/2 names a touch of a passkey and has none"]
