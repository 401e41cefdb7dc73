"""Reminders: when they come, in which order, what goes into files and where those may lie, caps, damaged rows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.wire import limits
from meta.wire.common import At, InSeconds
from reconciler.messaging import reminder_files, reminders
from reconciler.store.texts import ALARM
from tests.support.asking import Asking, asking

BIG = "a long story. " * 400
SOON = InSeconds(seconds=0)


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(tmp_path) as made:
        yield made


async def remind(hive: Asking, text: str, seconds: int = 60, owner: str = "alice") -> int:
    return await hive.reminders.remind(owner, text, InSeconds(seconds=seconds), None)


async def bodies(hive: Asking, owner: str = "alice") -> list[str]:
    assert all(sender == "reminder" for sender, _ in await hive.inbox(owner))
    return [body for _, body in await hive.inbox(owner)]


async def test_a_reminder_comes_from_reminder_at_its_time_and_not_before(hive: Asking) -> None:
    hive.now = 1_000.5
    await remind(hive, "look at the build")
    hive.now = 1_060.4
    assert (await hive.reminders.do_due(), await bodies(hive)) == (1_061, [])
    hive.now = 1_061.0
    assert await hive.reminders.do_due() is None
    assert await hive.inbox("alice") == [("reminder", "look at the build")]
    assert hive.woken == ["alice"]
    assert await hive.reminders.fire_due() == 0


@pytest.mark.parametrize("timing", [SOON, At(unix_timestamp=999), At(unix_timestamp=-(2**63))])
async def test_no_time_and_a_time_that_has_passed_are_due_at_once(hive: Asking, timing: InSeconds | At) -> None:
    await hive.reminders.remind("alice", "now", timing, None)
    assert await hive.reminders.fire_due() == 1


async def test_times_beyond_all_bounds_are_kept(hive: Asking) -> None:
    for timing in (InSeconds(seconds=2**64 - 1), At(unix_timestamp=2**63 - 1)):
        await hive.reminders.remind("alice", "the end", timing, None)
    assert [each.due_at for each in await hive.reminders.of("alice")] == [2**63 - 1] * 2
    assert await hive.reminders.do_due() == 2**63 - 1


async def test_what_is_due_comes_in_order_of_its_time_across_a_restart_and_jumps_of_the_clock(tmp_path: Path) -> None:
    async with asking(tmp_path) as hive:
        for text, seconds in (("third", 30), ("first", 10), ("second", 20), ("later", 10_000)):
            await remind(hive, text, seconds)
        hive.now = 10.0  # set back
        assert await hive.reminders.fire_due() == 0
        await remind(hive, "zeroth", 100)
    async with asking(tmp_path) as hive:
        hive.now = 5_000.0
        assert await hive.reminders.do_due() == 11_000
        assert await bodies(hive) == ["zeroth", "first", "second", "third"]


async def test_more_than_one_transactions_worth_comes_in_order_and_each_once(hive: Asking) -> None:
    texts = [f"{number:03}" for number in range(reminders.MOST)]
    for number, text in reversed([*enumerate(texts)]):
        await remind(hive, text, number)
    hive.now += 1_000
    assert await hive.reminders.fire_due() == reminders.MOST
    assert await bodies(hive) == texts


async def test_an_inbox_that_is_not_read_holds_its_reminders_back_and_nobody_elses(
    hive: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.store.notices.TOPIC_KEPT", 2)
    for number in range(4):
        await remind(hive, str(number), number)
    await remind(hive, "bob's", 3, "bob")
    hive.now += 10
    assert await hive.reminders.do_due() is None
    assert (await bodies(hive), await bodies(hive, "bob")) == (["0", "1"], ["bob's"])
    await hive.db.write(lambda connection: connection.execute("UPDATE messages SET acked_at = 1"))
    assert await hive.reminders.fire_due() == 2
    assert await bodies(hive) == ["0", "1", "2", "3"]


async def test_reminders_are_counted_listed_newest_first_and_cancelled_by_owner_manager_and_operator(
    hive: Asking,
) -> None:
    ids = [await remind(hive, str(number)) for number in range(4)]
    other = await remind(hive, "bob's", owner="bob")
    assert await hive.reminders.count("alice") == 4
    assert [each.id for each in await hive.reminders.of("alice")] == ids[::-1]
    assert [each.id for each in await hive.reminders.of(None)] == [other, *ids[::-1]]
    for id, by in zip(ids, ("alice", "manager", "operator", "alice"), strict=True):
        with pytest.raises(Refused):
            await hive.reminders.cancel(id, "bob")
        await hive.reminders.cancel(id, by)
        with pytest.raises(NotFound):
            await hive.reminders.cancel(id, by)
    assert await hive.reminders.of(None) == await hive.reminders.of("bob")


async def test_an_owner_has_a_limited_number_of_reminders(hive: Asking) -> None:
    ids = [await remind(hive, "x") for _ in range(reminders.MOST)]
    for path in (None, "x.md"):
        with pytest.raises(Conflict, match="the limit"):
            await hive.reminders.remind("alice", BIG, SOON, path)
    assert not (hive.state("alice") / "reminders").exists()
    await remind(hive, "bob's", owner="bob")
    await hive.reminders.cancel(ids[0], "alice")
    await remind(hive, "x")


async def test_a_destroyed_agent_has_none_and_gets_none(hive: Asking) -> None:
    await remind(hive, "alice's")
    kept = await remind(hive, "bob's", owner="bob")
    hive.names.discard("alice")
    await hive.reminders.forget("alice")
    assert [each.id for each in await hive.reminders.of(None)] == [kept]
    with pytest.raises(NotFound):
        await remind(hive, "phantom")


async def test_texts_are_bounded_and_are_text(hive: Asking) -> None:
    for text in ("", " \n", "\ud800", "x" * (limits.REMINDER_BYTES + 1)):
        with pytest.raises(BadInput):
            await remind(hive, text)


async def test_a_damaged_row_is_listed_with_an_alarm_and_holds_up_no_other(hive: Asking) -> None:
    ids = [await remind(hive, f"{number}", 1) for number in range(3)]
    await hive.spoil("reminders", "message", ids[0])
    await hive.spoil("reminders", "owner", ids[1])
    hive.now += 10
    listed = {each.id: each for each in await hive.reminders.of(None)}
    assert set(listed) == set(ids)
    assert listed[ids[0]].message.startswith(ALARM)
    assert listed[ids[1]].owner.startswith(ALARM)
    assert await hive.reminders.fire_due() == 2
    assert [body.startswith(ALARM) for body in await bodies(hive)] == [True, False]
    await hive.reminders.cancel(ids[1], "operator")


# files
async def test_a_long_text_goes_into_a_file_and_the_inbox_gets_where_that_is(hive: Asking) -> None:
    for _ in range(2):  # in one second
        await hive.reminders.remind("alice", BIG, SOON, None)
    await hive.reminders.remind("alice", "x" * reminders.INBOX_BYTES, SOON, None)
    await hive.reminders.fire_due()
    first, second, third = await bodies(hive)
    assert f"({len(BIG)} bytes) is in /state/reminders/auto-1000.md\nIt begins: a long story." in first
    assert "/state/reminders/auto-1000-2.md" in second
    assert third == "x" * reminders.INBOX_BYTES
    file = hive.state("alice") / "reminders" / "auto-1000.md"
    assert file.read_text() == BIG
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["notes/todo.md", "/state/reminders/notes/todo.md"])
async def test_a_named_file_lies_below_reminders_however_short_the_text_is(hive: Asking, path: str) -> None:
    await hive.reminders.remind("alice", "short", SOON, path)
    assert (hive.state("alice") / "reminders/notes/todo.md").read_text() == "short"
    [reminder] = await hive.reminders.of("alice")
    assert "/state/reminders/notes/todo.md" in reminder.message
    with pytest.raises(Conflict, match="already"):
        await hive.reminders.remind("alice", "another", SOON, path)
    assert (hive.state("alice") / "reminders/notes/todo.md").read_text() == "short"


HOSTILE = ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "/state/x", "/state/reminders", "/state/reminders/../x"]
HOSTILE += ["a//b", "/", "a/", "a\0b", "a\nb", "\x1b[31m", "x" * 201, "/".join("abcdefghi"), "/state/reminders//etc/x"]
HOSTILE += ["\u202egnp.md", "\ud800"]


@pytest.mark.parametrize("path", HOSTILE)
async def test_a_path_that_leads_elsewhere_or_cannot_be_shown_is_refused(hive: Asking, path: str) -> None:
    with pytest.raises(BadInput, match="not a path for a reminder") as caught:
        await hive.reminders.remind("alice", "x", SOON, path)
    assert caught.value.hint
    assert await hive.reminders.count("alice") == 0
    assert list(hive.state("alice").iterdir()) == []


@pytest.mark.parametrize("trap", ["reminders", "reminders/a", "reminders/a/x.md"])
@pytest.mark.parametrize("kind", ["symlink", "dangling", "file", "fifo"])
async def test_no_link_of_the_agents_is_followed_and_no_file_of_its_is_written_to(
    hive: Asking, tmp_path: Path, trap: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    where = hive.state("alice") / trap
    where.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "symlink":
            where.symlink_to(outside)
        case "dangling":
            where.symlink_to(outside / "made")
        case "file":
            where.write_text("mine")
        case _:
            os.mkfifo(where)
    with pytest.raises((Refused, Conflict)) as caught:
        await hive.reminders.remind("alice", "secret", SOON, "a/x.md")
    assert caught.value.hint
    assert list(outside.iterdir()) == []
    assert kind != "file" or where.read_text() == "mine"
    assert await hive.reminders.count("alice") == 0


async def test_a_state_that_is_a_link_is_not_followed_either(hive: Asking, tmp_path: Path) -> None:
    hive.state("alice").rmdir()
    hive.state("alice").symlink_to(tmp_path / "bob")
    with pytest.raises(Refused):
        await hive.reminders.remind("alice", BIG, SOON, None)
    assert list((tmp_path / "bob").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
async def test_file_and_directories_belong_to_the_agent(hive: Asking) -> None:
    os.chown(hive.state("alice"), 700_000, 700_000)
    await hive.reminders.remind("alice", "x", SOON, "notes/x.md")
    for path in ("reminders", "reminders/notes", "reminders/notes/x.md"):
        found = (hive.state("alice") / path).stat()
        assert (found.st_uid, found.st_gid) == (700_000, 700_000)


async def test_where_hive_may_not_write_a_long_text_and_a_named_file_are_refused(
    hive: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reminder_files, "_write", denied)
    with pytest.raises(Refused, match="hive cannot write below /state/reminders"):
        await hive.reminders.remind("alice", "x", SOON, "x.md")
    with pytest.raises(Refused, match="more than 4096 is not possible here"):
        await hive.reminders.remind("alice", BIG, SOON, None)
    assert await hive.reminders.count("alice") == 0


async def test_a_file_whose_reminder_was_not_accepted_is_taken_back(
    hive: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def destroyed_meanwhile(*arguments: object) -> tuple[str, ...]:
        hive.names.discard("alice")
        return write(*arguments)  # type: ignore[arg-type]

    write = reminder_files.write
    monkeypatch.setattr(reminder_files, "write", destroyed_meanwhile)
    with pytest.raises(NotFound):
        await hive.reminders.remind("alice", BIG, SOON, None)
    assert list((hive.state("alice") / "reminders").iterdir()) == []


async def test_the_operator_has_no_files(hive: Asking) -> None:
    with pytest.raises(Refused):
        await hive.reminders.remind("operator", "x", SOON, "x.md")
    await hive.reminders.remind("operator", BIG, SOON, None)
    await hive.reminders.fire_due()
    assert await bodies(hive, "operator") == [BIG]
