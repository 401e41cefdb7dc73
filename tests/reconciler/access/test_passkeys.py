"""Passkeys: add, remove, log in, approve; with a software authenticator and the real library."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from meta.consent import Assertion, How, assertion_of
from meta.errors import Conflict, NotFound, Refused
from reconciler.access.challenges import LIFETIME, OF_ONE, Challenges
from reconciler.access.passkeys import Holder, Passkey, Passkeys
from reconciler.common.touch import RelyingParty, Touch, check_touch
from reconciler.store.database import Database
from reconciler.store.events.log import Filter, matching
from tests.support.authenticator import ATTESTED, PRESENT, SoftKey

SITE = RelyingParty("http://localhost:8420", "localhost")
ANNA, ROOT = Holder("operator uid 1000", 1000, session="s1"), Holder("operator uid 0", 0)
BEN = Holder("operator ben", None, "ben", "s2")
CARD = {"agent": "alice", "id": 7, "commit": "1" * 40, "shown": "f" * 20}


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passkeys(db: Database, clock: Clock) -> Passkeys:
    return Passkeys(db, SITE, required=True, clock=clock, challenges=Challenges(clock))


async def add(passkeys: Passkeys, holder: Holder, key: SoftKey, by: SoftKey | None = None) -> Passkey:
    offer = await passkeys.offer(holder)
    return await passkeys.add(holder, key.create(offer.options), "phone", by.touch(offer.touch) if by else "")


async def asked(passkeys: Passkeys, holder: Holder = ANNA) -> str:
    card = passkeys.card("alice", 7, "1" * 40, "f" * 20, unseen=False)
    return await passkeys.ask_approval(holder, card)


async def events(db: Database) -> list[tuple[str, object]]:
    page = await db.read(lambda connection: matching(connection, None, 100, Filter()))
    return [(row.kind, row.data["owner"]) for row in page.rows]


async def test_who_made_a_passkey_logs_in_with_it_without_a_name(passkeys: Passkeys, db: Database) -> None:
    key = SoftKey()
    added = await add(passkeys, ANNA, key)
    owner = await passkeys.log_in(key.touch(await passkeys.login_options()))
    assert (owner.id, owner.owner, owner.uid, owner.user) == (added.id, "operator uid 1000", 1000, "")
    assert [each.used_at for each in await passkeys.present("operator uid 1000")] == [1_700_000_000]
    assert await events(db) == [("passkey_added", "operator uid 1000")]


async def test_a_user_of_a_proxy_logs_in_there_and_not_by_a_passkey(passkeys: Passkeys) -> None:
    key = SoftKey()
    await add(passkeys, BEN, key)
    options = await passkeys.login_options()
    with pytest.raises(Refused, match="operator ben logs in at the reverse proxy"):
        await passkeys.log_in(key.touch(options))


async def test_a_login_asks_for_any_passkey_and_names_none(passkeys: Passkeys) -> None:
    await add(passkeys, ANNA, SoftKey())
    options = json.loads(await passkeys.login_options())
    assert (options["allowCredentials"], options["userVerification"]) == ([], "required")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda key: replace(key, origin="http://localhost:9999"), "origin"),
        (lambda key: replace(key, flags=PRESENT), "verification is required"),
        (lambda key: replace(key, flags=4), "not present"),
        (lambda key: replace(key, private=SoftKey().private), "signature"),
        (lambda key: SoftKey(), "not known here"),
        (lambda key: replace(key, inside=True), "inside of another site's"),
    ],
    ids=["another origin", "no finger", "nobody there", "another key", "a stranger", "in a frame"],
)
async def test_a_touch_of_another_kind_logs_nobody_in(
    passkeys: Passkeys, wrong: Callable[[SoftKey], SoftKey], why: str
) -> None:
    key = SoftKey()
    await add(passkeys, ANNA, key)
    options = await passkeys.login_options()
    with pytest.raises(Refused, match=why):
        await passkeys.log_in(wrong(key).touch(options))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 9_000, '{"id": 1}', "x" * 20_000, '{"id":"é","rawId":"é"}'])
async def test_text_that_is_no_credential_is_refused_in_words(passkeys: Passkeys, text: str) -> None:
    for answer in (passkeys.log_in(text), passkeys.add(ANNA, text, "phone"), passkeys.consent(ANNA, CARD, text)):
        with pytest.raises(Refused):
            await answer


async def test_a_challenge_is_good_for_one_touch_of_one_purpose_in_one_session(
    passkeys: Passkeys, clock: Clock
) -> None:
    key = SoftKey()
    await add(passkeys, ANNA, key)
    options = await asked(passkeys)
    for other in (replace(ANNA, session="s9"), replace(ANNA, session="")):
        with pytest.raises(Refused, match="no question"):
            await passkeys.consent(other, CARD, key.touch(options))
    with pytest.raises(Refused, match="no question"):
        await passkeys.log_in(key.touch(options))
    assert (await passkeys.consent(ANNA, CARD, key.touch(options))).card is not None
    with pytest.raises(Refused, match="no question"):
        await passkeys.consent(ANNA, CARD, key.touch(options))
    late = await asked(passkeys)
    clock.now += LIFETIME
    with pytest.raises(Refused, match="later than"):
        await passkeys.consent(ANNA, CARD, key.touch(late))


async def test_the_touch_of_an_approval_is_a_record_that_checks_itself(passkeys: Passkeys) -> None:
    key = SoftKey()
    await add(passkeys, ANNA, key)
    approved = await passkeys.consent(ANNA, CARD, key.touch(await asked(passkeys)))
    assert approved.consent is not None
    assert approved.consent.how is How.PASSKEY
    record = assertion_of(approved.consent.trailers())
    assert record is not None
    assert (record.card, record.by) == (approved.card, "operator uid 1000")
    assert _holds(record)
    assert not _holds(replace(record, card=replace(record.card, id=8)))
    assert not _holds(replace(record, nonce=bytes(32)))


def _holds(record: Assertion) -> bool:
    touch = Touch(record.credential, record.authenticator_data, record.client_data, record.signature)
    try:
        check_touch(touch, record.key, record.challenge, RelyingParty(record.origin, record.rp))
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    "other", [{"agent": "bob"}, {"id": 8}, {"commit": "2" * 40}, {"commit": "1"}, {"shown": "0" * 20}, {"unseen": True}]
)
async def test_a_touch_approves_only_the_card_it_was_for(passkeys: Passkeys, other: dict[str, object]) -> None:
    key = SoftKey()
    await add(passkeys, ANNA, key)
    with pytest.raises(Refused, match=f"the touch was for {next(iter(other))}"):
        await passkeys.consent(ANNA, CARD | other, key.touch(await asked(passkeys)))


async def test_an_approval_needs_a_passkey_of_the_one_who_approves(passkeys: Passkeys) -> None:
    anna, ben = SoftKey(), SoftKey()
    await add(passkeys, ANNA, anna)
    with pytest.raises(Refused, match="operator ben has no passkey"):
        await asked(passkeys, BEN)
    await add(passkeys, BEN, ben, by=anna)
    options = await asked(passkeys, BEN)
    assert [each["id"] for each in json.loads(options)["allowCredentials"]] == [ben.name]
    with pytest.raises(Refused, match="not one of operator ben"):
        await passkeys.consent(BEN, CARD, anna.touch(options))


async def test_without_a_touch_only_root_approves_on_a_socket_and_says_so(passkeys: Passkeys, db: Database) -> None:
    for holder, without in ((ANNA, False), (ANNA, True), (ROOT, False), (replace(ROOT, session="s"), True)):
        with pytest.raises(Refused, match="passkey"):
            await passkeys.consent(holder, CARD, None, without=without)
    proxied = Holder("operator root", 0, "root")
    with pytest.raises(Refused, match="only root"):
        await passkeys.consent(proxied, CARD, None, without=True)
    approved = await passkeys.consent(ROOT, CARD, None, without=True)
    assert approved.consent is not None
    assert approved.consent.trailers() == {"Hive-Consent": "root without passkey"}
    free = Passkeys(db, SITE)
    assert (await free.consent(ANNA, CARD, None)).consent is None


async def test_a_stolen_session_adds_and_removes_no_passkey_while_they_approve(passkeys: Passkeys) -> None:
    first, second = SoftKey(), SoftKey()
    await add(passkeys, ANNA, first)
    with pytest.raises(Refused, match="needs the touch of one"):
        await add(passkeys, ANNA, second)
    with pytest.raises(Refused, match="needs the touch of one"):
        await passkeys.remove(ANNA, first.name)
    await add(passkeys, ANNA, second, by=first)
    with pytest.raises(Refused, match="for another passkey"):
        await passkeys.remove(ANNA, first.name, second.touch(await passkeys.removal(ANNA, second.name)))
    await passkeys.remove(ANNA, first.name, second.touch(await passkeys.removal(ANNA, first.name)))
    assert [each.id for each in await passkeys.present()] == [second.name]


async def test_root_adds_and_removes_passkeys_without_a_touch(passkeys: Passkeys, db: Database) -> None:
    key = SoftKey()
    await add(passkeys, ANNA, key)
    await add(passkeys, ROOT, SoftKey())
    assert await passkeys.removal(ROOT, key.name) == ""
    await passkeys.remove(ROOT, key.name)
    with pytest.raises(NotFound):
        await passkeys.remove(ROOT, key.name)
    options = await passkeys.login_options()
    with pytest.raises(Refused, match="not known here"):
        await passkeys.log_in(key.touch(options))
    kinds = [kind for kind, _ in await events(db)]
    assert kinds == ["passkey_added", "passkey_added", "passkey_removed"]


async def test_a_passkey_whose_counter_goes_back_is_refused_and_an_event_says_so(
    passkeys: Passkeys, db: Database
) -> None:
    key = SoftKey()
    await add(passkeys, ANNA, key)
    copy = replace(key)
    await passkeys.log_in(key.touch(await passkeys.login_options()))
    options = await passkeys.login_options()
    with pytest.raises(Refused, match="counter of this passkey went back"):
        await passkeys.log_in(copy.touch(options))
    assert (await events(db))[-1] == ("passkey_refused", "operator uid 1000")
    assert [each.id for each in await passkeys.refused()] == [key.name]
    await passkeys.remove(ROOT, key.name)
    assert await passkeys.refused() == []


async def test_a_passkey_that_does_not_count_is_used_again_and_again(passkeys: Passkeys) -> None:
    key = SoftKey(count=None)
    await add(passkeys, ANNA, key)
    for _ in range(2):
        assert await passkeys.log_in(key.touch(await passkeys.login_options()))


async def test_a_new_passkey_is_made_for_this_site_by_a_person_and_once(passkeys: Passkeys) -> None:
    offer = await passkeys.offer(ANNA)
    for wrong in (SoftKey(origin="https://evil.example"), SoftKey(flags=PRESENT | ATTESTED)):
        with pytest.raises(Refused, match="not valid"):
            await passkeys.add(ANNA, wrong.create((await passkeys.offer(ANNA)).options), "phone")
    key = SoftKey()
    await passkeys.add(ANNA, key.create(offer.options), "a\nlong \u202ename")
    assert [each.name for each in await passkeys.present()] == ["a long \\u202ename"]
    with pytest.raises(Conflict, match="added before"):
        await add(passkeys, ANNA, key, by=key)
    assert json.loads((await passkeys.offer(ANNA)).options)["excludeCredentials"][0]["id"] == key.name


def test_who_asks_for_many_challenges_loses_only_own_ones(clock: Clock) -> None:
    challenges = Challenges(clock)
    mine = challenges.make("anna", {"action": "approve"})
    first = challenges.make("ben", {"action": "approve"})
    for _ in range(OF_ONE):
        challenges.make("ben", {"action": "approve"})
    assert challenges.take(mine.challenge, "anna", "approve") == mine
    with pytest.raises(Refused):
        challenges.take(first.challenge, "ben", "approve")
    assert asdict(mine)["until"] == clock.now + LIFETIME


def test_nobody_takes_the_place_of_the_challenge_of_another_login(clock: Clock) -> None:
    challenges, card = Challenges(clock), {"action": "log-in"}
    mine = challenges.make_login(card)
    for _ in range(1_000):
        challenges.make_login(card)
    assert challenges.check_login(mine.challenge, card) == mine
    challenges.spend_login(mine)
    with pytest.raises(Refused, match="no question that is open"):
        challenges.check_login(mine.challenge, card)
    with pytest.raises(Refused, match="no question that is open"):
        challenges.spend_login(mine)  # of two at once


def test_the_challenge_of_a_login_is_this_daemons_and_in_time(clock: Clock) -> None:
    challenges, card = Challenges(clock), {"action": "log-in"}
    mine = challenges.make_login(card)
    approval = challenges.make("anna", {"action": "approve"})
    for other in (b"", mine.challenge[:-1], mine.challenge + b"x", b"\0" + mine.challenge[1:], approval.challenge):
        with pytest.raises(Refused, match="no question that is open"):
            challenges.check_login(other, card)
    with pytest.raises(Refused, match="no question that is open"):
        Challenges(clock).check_login(mine.challenge, card)
    clock.now += LIFETIME
    with pytest.raises(Refused, match="later than"):
        challenges.check_login(mine.challenge, card)
