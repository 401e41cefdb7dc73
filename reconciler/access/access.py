"""Who is logged in to the dashboard: one-time links, sessions, and their end.

Each change is one transaction with the event that reports it. Of tokens only hashes are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NoReturn

from meta.binding import binding_of
from meta.config import Config
from meta.errors import Conflict, HiveError, NotFound, Refused
from meta.names import HIVE, operator_who
from meta.text import one_line
from reconciler.access.attempts import Attempts
from reconciler.access.ends import Ends
from reconciler.access.members import Members
from reconciler.access.proxied import Proxied
from reconciler.access.rules import (
    BROWSER_LIMIT,
    LINK_SECONDS,
    TOKEN_BYTES,
    Lifetime,
    Origin,
    csrf_of,
    hash_of,
    is_token,
    who,
)
from reconciler.access.views import Link, Opened, SessionView
from reconciler.common.rounds import Rounds
from reconciler.store import access as rows
from reconciler.store.access import Session
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.events import log as event_log

__all__ = ["Access", "Link", "Opened", "Session", "SessionView"]

log = logging.getLogger(__name__)

TOUCH = 60.0
"""Seconds of a session's use that may be lost when the daemon is killed: it is recorded at most this often."""
LOOK = 10.0
"""Seconds between two looks for sessions that are over, whose streams have to end."""
SESSIONS_MOST = 1_000
"""Sessions at the same time. Beyond that the one that was not used for the longest time ends."""
_OVER = "the link was used before, is older than 5 minutes, or is none of this hive"


class Access:
    """The links and sessions of one hive. `clock` gives Unix seconds.

    `on_append` is called when a change appended an event. `rounds` counts failed looks for sessions that are over.
    """

    def __init__(
        self,
        db: Database,
        config: Config,
        members: Members,
        *,
        on_append: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        attempts: Attempts | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        self.attempts = attempts or Attempts()
        self.lifetime = Lifetime.of(config)
        self.instance = hashlib.sha256(db.uuid.encode()).hexdigest()[:8]
        """Tells this hive's cookies from those of others on the same host."""
        self._db = db
        self._config = config
        self._members = members
        self._on_append = on_append
        self._clock = clock
        self._rounds = rounds or Rounds("access")
        self._proxied = Proxied()
        self._secret: bytes | None = None
        self._ends = Ends()

    @property
    def on(self) -> bool:
        """True if there is a dashboard."""
        return self._config.dashboard_port > 0

    def origin(self) -> Origin:
        """Return the origin of the dashboard. Raise Conflict if it is off, BadInput if it cannot be served safely."""
        binding = binding_of(self._config)
        if binding is None:
            raise Conflict(
                "the dashboard is off",
                "`HIVE_DASHBOARD_PORT=8420 hive serve` turns it on; on NixOS `services.hive.dashboard.enable = true`",
            )
        return Origin(binding.origin)

    async def make_link(self, uid: int | None) -> Link:
        """Make a one-time link for a user of the host. Raise Conflict (the dashboard is off), Refused (no operator)."""
        origin = self.origin()
        if uid is None:
            raise Refused("the kernel does not say who asks", "`hive dashboard` on the daemon's own host")
        if not await self._members.has(uid):
            raise Refused(
                f"uid {uid} is not in the group of the operator's sockets, by the host's user database",
                "`id` shows your groups, `usermod -aG GROUP USER` adds one; hive looks again within 30 s",
            )
        token, now = secrets.token_urlsafe(TOKEN_BYTES), int(self._clock())
        work = partial(rows.add_link, hash=hash_of(token), uid=uid, ends_at=now + LINK_SECONDS, now=now)
        await self._db.write(work)
        return Link(f"{origin.text}/login#{token}", now + LINK_SECONDS)

    async def log_in(self, token: str, browser: str, address: str, replaces: Session | None = None) -> Opened:
        """Use a one-time link up. Raise Refused, or TransientError if too many logins from `address` were refused.

        Only what is refused is limited: whoever shares an address with others is not locked out by their attempts.
        `replaces` is the session that the browser had before: it ends.
        """
        now, link = int(self._clock()), hash_of(token)
        uid = await self._db.read(partial(rows.owner_of_link, hash=link, now=now)) if is_token(token) else None
        if uid is None:
            self.attempts.check(address)
            await self.refuse(address, _OVER)
        try:
            return await self.open_session(uid, "", "link", browser, replaces, link)
        except Refused as error:  # the second of two at once, or no operator any more
            self.attempts.check(address)
            await self.refuse(address, error.summary)

    async def operator_of(self, token: str) -> str:
        """Return as whom a one-time link logs in; "" if there is none with this token, or it is over."""
        work = partial(rows.owner_of_link, hash=hash_of(token), now=int(self._clock()))
        uid = await self._db.read(work) if is_token(token) else None
        return "" if uid is None else operator_who(uid)

    async def refuse(self, address: str, why: str) -> NoReturn:
        """Count a refused login, report it at most once a minute, and raise Refused."""
        if count := self.attempts.refuse(address):
            data = {"why": why, "address": one_line(address, BROWSER_LIMIT), "count": count}
            await self._report("dashboard_login_refused", data)
        raise Refused(why, "`hive dashboard` on the host prints a new link")

    async def open_session(
        self,
        uid: int | None,
        user: str,
        how: str,
        browser: str,
        replaces: Session | None = None,
        link: bytes | None = None,
    ) -> Opened:
        """Begin a session of somebody who has proved who it is. `how` names the proof: `link` or `passkey`.

        `link`, the hash of one, is used up in the same transaction. Raise Refused if it is over, or if the user is no
        operator any more.
        """
        if uid is not None and not await self._members.has(uid):
            raise Refused(f"uid {uid} is not an operator any more")
        token, now = secrets.token_urlsafe(TOKEN_BYTES), int(self._clock())
        new = Session(0, hash_of(token), uid, user, how, one_line(browser, BROWSER_LIMIT), now, now)

        def work(connection: Transaction) -> tuple[Session, list[Session]]:
            if link is not None and rows.take_link(connection, link, now) is None:
                raise Refused(_OVER)
            if replaces is not None:
                rows.remove(connection, replaces.id)
            surplus = rows.sessions(connection)[SESSIONS_MOST - 1 :]
            for each in surplus:
                rows.remove(connection, each.id)
            rows.secret(connection)  # with the first session, so that a full disk keeps no page from its tokens
            added = rows.add_session(connection, new)
            data = {"session": added.id, "by": who(added), "how": how, "browser": added.browser}
            event_log.append(connection, now, "dashboard_login", None, data)
            return added, surplus

        added, surplus = await self._db.write(work)
        self._on_append()
        for each in (*surplus, *([replaces] if replaces is not None else [])):
            self._ends.end(each.id)
        return Opened(added, token)

    async def session_of(self, token: str) -> Session | None:
        """Return the session of a cookie, and record its use; None if there is none or it is over."""
        if not is_token(token):
            return None
        session = await self._db.read(partial(rows.find, hash=hash_of(token)))
        now = self._clock()
        if session is None or not await self._goes_on(session, now):
            return None
        if now - session.used_at < TOUCH:
            return session
        try:
            await self._db.write(partial(rows.touch, id=session.id, at=int(now)))
        except HiveError as error:  # a full disk must not keep the operator out
            log.warning("the use of session %d is not recorded: %s", session.id, error, extra={"limited": "touch"})
        return replace(session, used_at=int(now))

    async def _goes_on(self, session: Session, now: float) -> bool:
        if self.lifetime.is_over(session, now):
            return False
        return session.uid is None or await self._members.has(session.uid)

    def revoked(self, session: Session) -> asyncio.Event:
        """Return the event that is set when the session ends. All streams of a session share it."""
        return self._ends.of(session.id)

    async def csrf(self, subject: Session | str) -> str:
        """Return the CSRF token of a session, or of a user whom a proxy named."""
        if self._secret is None:
            made = await self._db.read(rows.known_secret)
            self._secret = await self._db.write(rows.secret) if made is None else made
        return csrf_of(self._secret, f"session {subject.id}" if isinstance(subject, Session) else f"user {subject}")

    async def sessions(self) -> list[SessionView]:
        """Return the sessions that go on, and who comes by a proxy, the one that was used last first."""
        now = self._clock()
        found = await self._db.read(rows.sessions)
        own = [self._view(session) for session in found if await self._goes_on(session, now)]
        return sorted([*own, *self._proxied.present(now)], key=lambda view: -view.used_at)

    async def came_by_proxy(self, user: str, browser: str) -> str:
        """Record a request of a user whom a proxy logged in. Return the user's CSRF token."""
        self._proxied.note(user, browser, self._clock())
        return await self.csrf(user)

    def _view(self, session: Session) -> SessionView:
        ends = self.lifetime.ends_at(session)
        times = (session.made_at, session.used_at, ends)
        return SessionView(session.id, who(session), session.how, session.browser, *times)

    async def log_out(self, session: Session) -> None:
        """End a session because its own browser asks."""
        await self._remove([session.id], "dashboard_logout", who(session))

    async def revoke(self, id: int, by: str) -> SessionView:
        """End a session. Raise NotFound, or Refused for a user of a proxy."""
        if id == 0:
            raise Refused("whom a proxy logs in has no session here", "remove the user at the proxy: it lets them in")
        session = await self._db.read(partial(rows.get, id=id)) if 0 <= id < 2**63 else None
        if session is None or not await self._remove([id], "dashboard_session_revoked", by):
            raise NotFound(f"there is no session {id} of the dashboard", "see `hive dashboard sessions`")
        return self._view(session)

    async def revoke_all(self, by: str, keep: int | None = None) -> list[SessionView]:
        """End all sessions but `keep`. Return them."""
        found = [session for session in await self._db.read(rows.sessions) if session.id != keep]
        ended = await self._remove([session.id for session in found], "dashboard_session_revoked", by)
        return [self._view(session) for session in found if session.id in ended]

    async def run(self) -> None:
        """Remove sessions that are over, and end their streams, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except HiveError as error:
                self._rounds.fail(error)
                log.warning("sessions that are over cannot be removed now: %s", error, extra={"limited": "sessions"})
            else:
                self._rounds.succeed()

    async def look(self) -> None:
        """Remove the sessions that are over, or whose user is no operator any more, and end their streams."""
        now = self._clock()
        for session in await self._db.read(rows.sessions):
            if self.lifetime.is_over(session, now):
                await self._db.write(partial(rows.remove, id=session.id))
                self._ends.end(session.id)
            elif not await self._goes_on(session, now):
                await self._remove([session.id], "dashboard_session_revoked", HIVE, "no operator any more")

    async def _remove(self, ids: list[int], kind: str, by: str, why: str = "") -> set[int]:
        """Remove sessions, each with its event. Return those that there were."""
        now = self._clock()

        def work(connection: Transaction) -> set[int]:
            ended = set()
            for id in ids:
                session = rows.get(connection, id)
                if session is not None and rows.remove(connection, id):
                    data: dict[str, object] = {"session": id, "of": who(session), "by": by}
                    event_log.append(connection, now, kind, None, {**data, "why": why} if why else data)
                    ended.add(id)
            return ended

        ended = await self._db.write(work)
        if ended:
            self._on_append()
        for id in ids:
            self._ends.end(id)
        return ended

    async def _report(self, kind: str, data: dict[str, object]) -> None:
        try:
            await self._db.write(partial(event_log.append, at=self._clock(), kind=kind, agent=None, data=data))
        except HiveError as error:  # the answer to the peer does not depend on it
            log.warning("%s is not in the events: %s (%s)", kind, error, data, extra={"limited": kind})
            return
        self._on_append()
