"""Links and sessions of the dashboard on a real database, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meta.config import Config
from meta.errors import Conflict, NotFound, Refused, TransientError
from reconciler.access.access import Access, Opened
from reconciler.access.attempts import PER_MINUTE, Attempts
from reconciler.access.members import CACHED, Members
from reconciler.access.rules import LINK_SECONDS
from reconciler.store import access as rows
from reconciler.store import offline
from reconciler.store.database import Database
from reconciler.store.events import log

HOUR = 3600
UID = 31_337
HERE = "127.0.0.1"


@dataclass
class Hive:
    """Access of one hive. `now` is its time; `operators` are the users in the group of its sockets."""

    database: Database
    socket: Path
    now: float = 1_700_000_000.0
    operators: set[int] = field(default_factory=lambda: {UID})
    settings: dict[str, Any] = field(default_factory=lambda: {"dashboard_port": 8420, "dashboard_session_hours": 1})

    def __post_init__(self) -> None:
        self.access = self.again()

    def again(self) -> Access:
        """Another daemon on the same database."""

        def clock() -> float:
            return self.now

        group = self.socket.stat().st_gid
        members = Members(self.socket, lambda uid: frozenset({group} if uid in self.operators else ()), clock)
        config = Config.model_validate(self.settings)
        return Access(self.database, config, members, clock=clock, attempts=Attempts(clock))

    async def token(self, uid: int = UID) -> str:
        return (await self.access.make_link(uid)).address.partition("#")[2]

    async def open(self, uid: int = UID) -> Opened:
        return await self.access.log_in(await self.token(uid), "Firefox", HERE)

    async def events(self) -> list[tuple[str, dict[str, object]]]:
        page = await self.database.read(lambda connection: log.page(connection, None, 1_000))
        return [(row.kind, row.data) for row in page.rows]


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Hive]:
    (tmp_path / "http.sock").touch()
    async with await Database.open(tmp_path / "hive.db") as database:
        yield Hive(database, tmp_path / "http.sock")


async def test_a_link_logs_in_once_as_the_user_who_made_it(hive: Hive) -> None:
    link = await hive.access.make_link(UID)
    assert link.address.startswith("http://localhost:8420/login#")
    token = link.address.partition("#")[2]
    opened = await hive.access.log_in(token, "Firefox\n on a phone", HERE)
    assert (opened.session.uid, opened.session.browser) == (UID, "Firefox on a phone")
    with pytest.raises(Refused, match="was used before"):
        await hive.access.log_in(token, "Firefox", HERE)
    by = f"operator uid {UID}"
    assert (await hive.events())[0] == (
        "dashboard_login",
        {"session": opened.session.id, "by": by, "how": "link", "browser": "Firefox on a phone"},
    )


@pytest.mark.parametrize(("seconds", "good"), [(LINK_SECONDS - 1, True), (LINK_SECONDS, False)])
async def test_a_link_is_over_after_five_minutes(hive: Hive, seconds: int, good: bool) -> None:
    token = await hive.token()
    hive.now += seconds
    if good:
        await hive.access.log_in(token, "", HERE)
    else:
        with pytest.raises(Refused, match="older than 5 minutes"):
            await hive.access.log_in(token, "", HERE)


async def test_the_database_holds_nothing_with_which_somebody_could_log_in(hive: Hive) -> None:
    unused, opened = await hive.token(), await hive.open()
    await hive.database.checkpoint()
    files = b"".join(path.read_bytes() for path in hive.socket.parent.glob("hive.db*"))
    assert b"dashboard_sessions" in files
    assert unused.encode() not in files
    assert opened.token.encode() not in files


async def test_no_link_is_made_while_the_dashboard_is_off(hive: Hive) -> None:
    hive.settings["dashboard_port"] = 0
    with pytest.raises(Conflict, match="the dashboard is off") as raised:
        await hive.again().make_link(UID)
    assert "HIVE_DASHBOARD_PORT=8420" in raised.value.hint


async def test_a_session_ends_without_use_and_at_last_with_it(hive: Hive) -> None:
    opened = await hive.open()
    for _ in range(7):
        hive.now += HOUR / 2
        assert await hive.access.session_of(opened.token) is not None
    hive.now += HOUR / 2  # four hours in all
    assert await hive.access.session_of(opened.token) is None
    unused = await hive.open()
    hive.now += HOUR
    assert await hive.access.session_of(unused.token) is None


async def test_a_session_outlasts_the_daemon_with_its_csrf_token(hive: Hive) -> None:
    opened = await hive.open()
    other = hive.again()
    session = await other.session_of(opened.token)
    assert session is not None
    assert await other.csrf(session) == await hive.access.csrf(opened.session)
    assert other.instance == hive.access.instance


async def test_csrf_tokens_of_sessions_and_users_differ(hive: Hive) -> None:
    one, two = await hive.open(), await hive.open()
    tokens = {await hive.access.csrf(each) for each in (one.session, two.session, "anna", str(one.session.id))}
    assert len(tokens) == 4


async def test_a_revoked_session_is_over_at_once_and_its_streams_end(hive: Hive) -> None:
    opened = await hive.open()
    over = hive.access.revoked(opened.session)
    ended = await hive.access.revoke(opened.session.id, "operator uid 0")
    assert ended.by == f"operator uid {UID}"
    assert over.is_set()
    assert await hive.access.session_of(opened.token) is None
    assert hive.access.revoked(opened.session).is_set(), "a stream that begins between the look and the end"
    assert (await hive.events())[-1] == (
        "dashboard_session_revoked",
        {"session": opened.session.id, "of": f"operator uid {UID}", "by": "operator uid 0"},
    )
    with pytest.raises(NotFound):
        await hive.access.revoke(opened.session.id, "operator uid 0")


async def test_a_session_that_ended_since_it_was_read_begins_no_stream(hive: Hive) -> None:
    read, other = await hive.open(), await hive.open()  # and no stream of it keeps its event
    await hive.access.revoke(read.session.id, "operator uid 0")
    assert hive.access.revoked(read.session).is_set()
    assert not hive.access.revoked(other.session).is_set()


async def test_all_sessions_but_one_are_revoked(hive: Hive) -> None:
    mine, other, third = await hive.open(), await hive.open(), await hive.open()
    ended = await hive.access.revoke_all("operator uid 0", keep=mine.session.id)
    assert {view.id for view in ended} == {other.session.id, third.session.id}
    assert [view.id for view in await hive.access.sessions()] == [mine.session.id]


async def test_a_new_login_of_a_browser_ends_the_one_before(hive: Hive) -> None:
    first = await hive.open()
    over = hive.access.revoked(first.session)
    await hive.access.log_in(await hive.token(), "Firefox", HERE, first.session)
    assert over.is_set()
    assert await hive.access.session_of(first.token) is None


async def test_a_session_ends_when_its_user_leaves_the_group(hive: Hive) -> None:
    opened = await hive.open()
    over = hive.access.revoked(opened.session)
    hive.operators.clear()
    hive.now += CACHED
    assert await hive.access.session_of(opened.token) is None
    assert await hive.access.sessions() == []
    await hive.access.look()
    assert over.is_set()
    kind, data = (await hive.events())[-1]
    assert (kind, data["by"], data["why"]) == ("dashboard_session_revoked", "hive", "no operator any more")


async def test_no_link_is_made_for_a_user_outside_of_the_group(hive: Hive) -> None:
    with pytest.raises(Refused, match="not in the group"):
        await hive.access.make_link(UID + 1)
    with pytest.raises(Refused, match="does not say who asks"):
        await hive.access.make_link(None)


async def test_a_backup_has_no_logins_so_that_putting_it_back_revives_none(hive: Hive, tmp_path: Path) -> None:
    opened, token = await hive.open(), await hive.token()
    offline.copy(hive.database.path, tmp_path / "copy.db")
    async with await Database.open(tmp_path / "copy.db") as database:
        back = Hive(database, hive.socket)
        assert await back.access.session_of(opened.token) is None
        with pytest.raises(Refused):
            await back.access.log_in(token, "", HERE)
    assert await hive.access.session_of(opened.token) is not None


async def test_a_link_of_a_user_who_left_the_group_logs_nobody_in(hive: Hive) -> None:
    token = await hive.token()
    hive.operators.clear()
    hive.now += CACHED
    with pytest.raises(Refused, match="not an operator"):
        await hive.access.log_in(token, "", HERE)


async def test_a_look_ends_what_nobody_used(hive: Hive) -> None:
    opened = await hive.open()
    over = hive.access.revoked(opened.session)
    hive.now += HOUR - 1
    await hive.access.look()
    assert not over.is_set()
    hive.now += 1
    await hive.access.look()
    assert over.is_set()


async def test_refused_logins_are_limited_by_address_and_those_that_succeed_do_not_count(hive: Hive) -> None:
    for _ in range(PER_MINUTE + 5):
        await hive.open()
    for _ in range(PER_MINUTE):
        with pytest.raises(Refused):
            await hive.access.log_in("x" * 43, "", "10.0.0.9")
    with pytest.raises(TransientError, match="too many") as raised:
        await hive.access.log_in("y" * 43, "", "10.0.0.9")
    assert raised.value.retry_after == 6.0
    hive.now += 6
    with pytest.raises(Refused):
        await hive.access.log_in("x" * 43, "", "10.0.0.9")


async def test_wrong_tokens_of_others_lock_nobody_out_who_has_a_link(hive: Hive) -> None:
    for _ in range(PER_MINUTE + 2):
        with pytest.raises((Refused, TransientError)):
            await hive.access.log_in("x" * 43, "", HERE)
    opened = await hive.access.log_in(await hive.token(), "", HERE)
    assert await hive.access.session_of(opened.token) is not None


async def test_no_session_begins_for_a_user_who_left_the_group(hive: Hive) -> None:
    opened = await hive.open()
    hive.operators.clear()
    hive.now += CACHED
    with pytest.raises(Refused, match="not an operator"):
        await hive.access.open_session(UID, "", "passkey", "Firefox")
    assert [kind for kind, _ in await hive.events()] == ["dashboard_login"], "nothing is recorded as a login"
    assert await hive.database.read(rows.sessions) == [opened.session]


async def test_refused_logins_are_reported_once_a_minute_with_their_number(hive: Hive) -> None:
    for wait in (0, 1, 1, 60):
        hive.now += wait
        with pytest.raises(Refused):
            await hive.access.log_in("no token", "", "fe80::1%eth0\n")
    refused = [data for kind, data in await hive.events() if kind == "dashboard_login_refused"]
    assert [(data["count"], data["address"]) for data in refused] == [(1, "fe80::1%eth0"), (3, "fe80::1%eth0")]


async def test_the_use_of_a_session_is_written_at_most_once_a_minute(hive: Hive) -> None:
    opened = await hive.open()
    writes = []
    hive.database.on_change(lambda: writes.append(hive.now))
    for _ in range(4):
        hive.now += 30
        await hive.access.session_of(opened.token)
    assert len(writes) == 2
