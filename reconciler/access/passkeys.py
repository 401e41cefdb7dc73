"""Passkeys of operators: add, list, remove, log in; and the touch that stands behind an approval.

Each touch answers a challenge of this daemon, made for one purpose and one session. Browsers' text is read in threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

from meta.consent import ApprovalCard, Assertion, Consent, How
from meta.errors import Conflict, NotFound, Refused
from meta.text import one_line
from reconciler.access import registration
from reconciler.access.challenges import Challenges, Waiting
from reconciler.access.touch_rules import Holder, free_of_touch, same_card
from reconciler.common.touch import RelyingParty, Touch, check_touch, read_touch
from reconciler.store import passkeys as rows
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.events import log
from reconciler.store.passkeys import Passkey

__all__ = ["Holder", "Offer", "Passkey", "Passkeys"]

MOST = 20
"""Passkeys of one operator, at most."""
NAME_MOST = 60
LOG_IN, ADD, REMOVE, CREATE, APPROVE = "log-in", "add-passkey", "remove-passkey", "create", "approve"
"""What a touch can be for. `create` is the touch by which an authenticator makes a passkey."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a browser needs to make a passkey: the options, and those of the touch of an existing one, "" if none."""

    options: str
    touch: str = ""


@dataclass(frozen=True, slots=True)
class Approved:
    """What an approval rests on. `card`: what was touched for; None if nothing was, then `consent` may be None too."""

    consent: Consent | None = None
    card: ApprovalCard | None = None


class Passkeys:
    """The passkeys of one hive. `required`: approvals need a touch. `clock` gives Unix seconds."""

    def __init__(
        self,
        db: Database,
        party: RelyingParty,
        *,
        required: bool = False,
        clock: Callable[[], float] = time.time,
        challenges: Challenges | None = None,
    ) -> None:
        self._db = db
        self._party = party
        self._clock = clock
        self._challenges = challenges or Challenges()
        self._adding = asyncio.Lock()
        self.required = required

    async def present(self, owner: str | None = None) -> list[Passkey]:
        """Return the passkeys of an owner (None: of all), oldest first."""
        return await self._db.read(partial(rows.present, owner=owner))

    async def refused(self) -> list[Passkey]:
        """Return the passkeys whose counter went back, as if they were copied, and that are still there."""
        return await self._db.read(rows.refused)

    # add and remove
    async def offer(self, holder: Holder) -> Offer:
        """Begin to add a passkey for the holder. Raise Conflict if there are too many."""
        present = await self.present()
        own = _own(holder, present)
        made = self._challenges.make(holder.key, {"action": CREATE})
        options = await asyncio.to_thread(
            registration.creation_options, self._party, self._db.uuid, holder.who, made.challenge, own
        )
        if self._may_change(holder, present):
            return Offer(options)
        return Offer(options, await self._ask(holder, {"action": ADD, "for": holder.who}, present))

    async def add(self, holder: Holder, credential: str, name: str, touch: str = "") -> Passkey:
        """Keep a new passkey. Raise Refused (not valid, or without the touch of an existing one), Conflict."""
        challenge = await asyncio.to_thread(registration.challenge_of, credential)
        async with self._adding:  # of two first passkeys the second one needs the touch of the first
            present = await self.present()
            _own(holder, present)
            if not self._may_change(holder, present):
                await self._touched(holder, touch, ADD)
            self._challenges.take(challenge, holder.key, CREATE)
            new = await asyncio.to_thread(registration.check_new, credential, challenge, self._party)
            now = int(self._clock())
            label = one_line(name, NAME_MOST) or "passkey"
            passkey = Passkey(new.id, holder.who, holder.uid, holder.user, label, new.key, new.count, now)
            if not await self._db.write(partial(_add, passkey=passkey, party=self._party)):
                raise Conflict("this passkey was added before", "a removed passkey has to be made anew")
        return passkey

    async def removal(self, holder: Holder, id: str) -> str:
        """Return the options of the touch that a removal needs, "" if it needs none. Raise NotFound."""
        await self._get(id)
        present = await self.present()
        if self._may_change(holder, present):
            return ""
        return await self._ask(holder, {"action": REMOVE, "passkey": id}, present)

    async def remove(self, holder: Holder, id: str, touch: str = "") -> Passkey:
        """Remove a passkey. Raise NotFound, Refused (without the touch of one, while approvals need one)."""
        passkey = await self._get(id)
        if not self._may_change(holder, await self.present()):
            waiting = await self._touched(holder, touch, REMOVE)
            if waiting.card["passkey"] != id:
                raise Refused("the touch was for another passkey", "touch again, on the page as it is now")
        now = int(self._clock())
        if not await self._db.write(partial(_remove, passkey=passkey, by=holder.who, at=now)):
            raise NotFound(f"there is no passkey {id[:40]}", "see `hive dashboard passkeys`")
        return passkey

    # log in
    async def login_options(self) -> str:
        """Return options for a login. They name no user and no passkey."""
        made = self._challenges.make_login({"action": LOG_IN})
        return await asyncio.to_thread(registration.request_options, self._party, made.challenge)

    async def log_in(self, credential: str) -> Passkey:
        """Return the passkey of a valid touch: its owner has logged in. Raise Refused.

        Nobody gets in so whom a proxy logs in: the proxy knows who may come, and a passkey outlives that.
        """
        touch = await asyncio.to_thread(read_touch, credential)
        waiting = self._challenges.check_login(touch.challenge, {"action": LOG_IN})
        passkey = await self._verify(touch, waiting)
        self._challenges.spend_login(waiting)
        if passkey.user:
            raise Refused(
                f"{passkey.owner} logs in at the reverse proxy", "come by the proxy; the passkey approves there"
            )
        return passkey

    # approve
    async def ask_approval(self, holder: Holder, card: ApprovalCard) -> str:
        """Return the options of the touch that approves a card. Raise Refused if the holder has no passkey."""
        own = await self.present(holder.who)
        if not own:
            raise Refused(f"{holder.who} has no passkey", f"add one on {self._party.origin}/settings")
        return await self._ask(holder, asdict(card), own)

    def card(self, agent: str, id: int, commit: str, shown: str, *, unseen: bool) -> ApprovalCard:
        """Return the facts that the touch for one approval confirms."""
        return ApprovalCard(self._db.uuid, agent, id, commit, shown, unseen)

    async def consent(
        self, holder: Holder, wanted: Mapping[str, object], touch: str | None, *, without: bool = False
    ) -> Approved:
        """Return what an approval rests on. Raise Refused if the touch is missing, or for another card.

        `wanted` has what the caller says of the card, by its fields; None for what it leaves open.
        """
        if touch is None:
            return Approved(free_of_touch(holder, self._party, required=self.required, without=without))
        answer = await asyncio.to_thread(read_touch, touch)
        waiting = self._challenges.take(answer.challenge, holder.key, APPROVE)
        card = same_card(waiting.card, wanted)
        passkey = await self._verify(answer, waiting, owner=holder.who)
        record = Assertion(
            card=card,
            nonce=waiting.nonce,
            by=holder.who,
            credential=answer.credential,
            key=passkey.key,
            authenticator_data=answer.authenticator_data,
            client_data=answer.client_data,
            signature=answer.signature,
            origin=self._party.origin,
            rp=self._party.rp,
            at=int(self._clock()),
        )
        try:
            consent = Consent(How.PASSKEY, record.encode())
            consent.trailers()
        except ValueError as error:
            raise Refused("the passkey's answer is too long to be kept", "use another passkey") from error
        return Approved(consent, card)

    # helpers
    def _may_change(self, holder: Holder, present: list[Passkey]) -> bool:
        """Return True if the holder may add and remove passkeys without the touch of one."""
        return not self.required or not present or holder.root

    async def _ask(self, holder: Holder, card: Mapping[str, object], allow: list[Passkey]) -> str:
        made = self._challenges.make(holder.key, card)
        ids = [passkey.id for passkey in allow]
        return await asyncio.to_thread(registration.request_options, self._party, made.challenge, ids)

    async def _touched(self, holder: Holder, text: str, action: str) -> Waiting:
        """Check the touch of any passkey of the hive. Raise Refused."""
        if not text:
            raise Refused(
                "passkeys approve here, so this needs the touch of one that exists",
                "touch one on the dashboard's settings, or log in by a link that root made (`sudo hive dashboard`)",
            )
        touch = await asyncio.to_thread(read_touch, text)
        waiting = self._challenges.take(touch.challenge, holder.key, action)
        await self._verify(touch, waiting)
        return waiting

    async def _get(self, id: str) -> Passkey:
        passkey = await self._db.read(partial(rows.get, id=id))
        if passkey is None:
            raise NotFound(f"there is no passkey {id[:40]}", "see `hive dashboard passkeys`")
        return passkey

    async def _verify(self, touch: Touch, waiting: Waiting, owner: str | None = None) -> Passkey:
        """Check a touch, and keep the passkey's counter. Raise Refused."""
        passkey = await self._db.read(partial(rows.get, id=touch.id))
        if passkey is None:
            raise Refused("this passkey is not known here", "log in by `hive dashboard`, then add it in the settings")
        if owner is not None and passkey.owner != owner:
            raise Refused(f"this passkey is not one of {owner}", "log in as its owner")
        count = await asyncio.to_thread(check_touch, touch, passkey.key, waiting.challenge, self._party)
        if not await self._db.write(partial(_use, passkey=passkey, count=count, at=self._clock())):
            raise Refused(
                "the counter of this passkey went back: it may have been copied",
                "remove it, and add another one (`hive dashboard passkeys`)",
            )
        return passkey


def _own(holder: Holder, present: list[Passkey]) -> list[str]:
    """Return the ids of the holder's passkeys. Raise Conflict if there is no room for another one."""
    own = [passkey.id for passkey in present if passkey.owner == holder.who]
    if len(own) >= MOST:
        raise Conflict(f"{holder.who} has {MOST} passkeys already", "remove one that is no longer used")
    return own


def _add(connection: Transaction, passkey: Passkey, party: RelyingParty) -> bool:
    added = rows.insert(connection, passkey)
    if added:
        data = {"id": passkey.id, "owner": passkey.owner, "name": passkey.name, "key": key_digest(passkey.key)}
        data |= {"origin": party.origin, "rp": party.rp}  # an audit compares those of a touch
        log.append(connection, passkey.added_at, "passkey_added", None, data)
    return added


def _remove(connection: Transaction, passkey: Passkey, by: str, at: int) -> bool:
    removed = rows.remove(connection, passkey.id, by, at)
    if removed:
        data = {"id": passkey.id, "owner": passkey.owner, "name": passkey.name, "by": by}
        log.append(connection, at, "passkey_removed", None, data)
    return removed


def _use(connection: Transaction, passkey: Passkey, count: int, at: float) -> bool:
    used = rows.use(connection, passkey.id, count, int(at))
    if not used:
        rows.refuse(connection, passkey.id, int(at))
        data = {"id": passkey.id, "owner": passkey.owner, "name": passkey.name, "count": count}
        log.append(connection, at, "passkey_refused", None, data)
    return used


def key_digest(key: bytes) -> str:
    """Return what events name a public key by."""
    return hashlib.sha256(key).hexdigest()
