"""Whose links and sessions count: the group of the operator's socket, asked now and then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.access.members import CACHED, Members, groups_of

UID = 31_337


class Host:
    """A host on which `groups` are those of UID; None: its user database does not answer."""

    def __init__(self) -> None:
        self.groups: frozenset[int] | None = frozenset()
        self.asked = 0
        self.now = 0.0

    def lookup(self, _uid: int) -> frozenset[int]:
        self.asked += 1
        if self.groups is None:
            raise OSError("no answer")
        return self.groups

    def clock(self) -> float:
        return self.now


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def members(tmp_path: Path, host: Host) -> Members:
    (tmp_path / "http.sock").touch()
    return Members(tmp_path / "http.sock", host.lookup, host.clock)


async def test_root_and_the_daemons_own_user_are_members(members: Members, host: Host) -> None:
    assert await members.has(0)
    assert await members.has(os.geteuid())
    assert host.asked == 0


async def test_the_group_of_the_socket_decides(members: Members, host: Host, tmp_path: Path) -> None:
    assert not await members.has(UID)
    host.now += CACHED
    host.groups = frozenset({(tmp_path / "http.sock").stat().st_gid})
    assert await members.has(UID)


async def test_an_answer_counts_for_half_a_minute(members: Members, host: Host, tmp_path: Path) -> None:
    host.groups = frozenset({(tmp_path / "http.sock").stat().st_gid})
    assert await members.has(UID)
    host.groups, host.now = frozenset(), CACHED - 1
    assert await members.has(UID)
    host.now = CACHED
    assert not await members.has(UID)
    assert host.asked == 2


async def test_while_the_host_does_not_answer_its_last_answer_counts(
    members: Members, host: Host, tmp_path: Path
) -> None:
    host.groups = frozenset({(tmp_path / "http.sock").stat().st_gid})
    assert await members.has(UID)
    host.groups, host.now = None, CACHED
    assert await members.has(UID)
    assert not await members.has(UID + 1)


async def test_while_the_socket_is_missing_its_group_stays(members: Members, host: Host, tmp_path: Path) -> None:
    host.groups = frozenset({(tmp_path / "http.sock").stat().st_gid})
    assert await members.has(UID)
    (tmp_path / "http.sock").unlink()
    host.now = CACHED
    assert await members.has(UID)


def test_this_users_groups_are_found_and_an_unknown_uid_has_none() -> None:
    assert os.getegid() in groups_of(os.geteuid())
    assert groups_of(2**31 - 7) == frozenset()
