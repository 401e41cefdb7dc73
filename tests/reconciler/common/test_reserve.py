"""The space that hive keeps for itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.common.reserve import INODES, Reserve, Room

MIB = 2**20


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "reserve", MIB)


def test_it_has_real_blocks_and_inodes_and_gives_them_back(reserve: Reserve, tmp_path: Path) -> None:
    assert reserve.make()
    assert sum(path.stat().st_blocks for path in (tmp_path / "reserve").iterdir()) * 512 >= MIB
    assert len(list((tmp_path / "reserve").iterdir())) == INODES + 2

    assert reserve.give_back(all=True) == MIB

    assert list(tmp_path.iterdir()) == []
    assert reserve.give_back(all=True) == 0


def test_its_last_part_stays_for_stops_and_a_start(reserve: Reserve) -> None:
    reserve.make()
    assert reserve.give_back(all=False) == MIB - MIB // 8
    assert reserve.give_back(all=False) == 0
    assert reserve.held() == MIB // 8
    assert reserve.make()
    assert reserve.held() == MIB


def test_it_is_a_small_part_of_a_small_file_system(reserve: Reserve) -> None:
    assert reserve.wanted(Room(0, 50 * MIB)) == MIB // 2
    assert reserve.wanted(Room(0, 5000 * MIB)) == MIB


@pytest.mark.parametrize(
    ("room", "full"),
    [
        (Room(0, 64 * MIB), True),
        (Room(MIB, 64 * MIB), False),
        (Room(3 * MIB, 64_000 * MIB), True),
        (Room(5 * MIB, 64_000 * MIB), False),
        (Room(64_000 * MIB, 64_000 * MIB, inodes=3), True),
    ],
)
def test_a_disk_is_full_without_blocks_and_without_inodes(reserve: Reserve, room: Room, full: bool) -> None:
    assert reserve.is_full(room) is full


def test_it_is_made_again_only_if_the_disk_is_not_full_then(reserve: Reserve) -> None:
    assert not reserve.has_room(Room(MIB, 5000 * MIB))
    assert reserve.has_room(Room(2 * MIB, 5000 * MIB))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["reserve/blocks", "reserve/last", "reserve"])
def test_what_stands_in_the_place_of_its_files_is_removed(
    reserve: Reserve, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    make(tmp_path / name)

    assert reserve.make()

    assert reserve.held() == MIB
    assert reserve.give_back(all=True) == MIB


@pytest.mark.timeout(10)
def test_a_pipe_in_its_place_is_given_back_without_a_wait(reserve: Reserve, tmp_path: Path) -> None:
    reserve.make()
    (tmp_path / "reserve/last").unlink()
    os.mkfifo(tmp_path / "reserve/last")
    reserve.give_back(all=True)
    assert list(tmp_path.iterdir()) == []
