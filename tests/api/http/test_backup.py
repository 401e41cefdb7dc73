"""The answer of a backup lets go of its file however the client behaves."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from api.operations.upkeep import Content


def taken(path: Path) -> tuple[int, Content]:
    path.write_bytes(b"x" * 600_000)
    descriptor = os.open(path, os.O_RDONLY)
    return descriptor, Content(descriptor)


def is_open(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


async def test_a_file_that_was_sent_is_closed(tmp_path: Path) -> None:
    descriptor, content = taken(tmp_path / "b")
    assert sum([len(block) async for block in content]) == 600_000
    assert not is_open(descriptor)


async def test_a_client_that_goes_away_before_the_first_byte_leaves_no_file_open(tmp_path: Path) -> None:
    descriptor, content = taken(tmp_path / "b")
    blocks = aiter(content)
    assert is_open(descriptor)
    del blocks, content
    assert not is_open(descriptor)


async def test_a_client_that_goes_away_in_the_middle_leaves_no_file_open(tmp_path: Path) -> None:
    descriptor, content = taken(tmp_path / "b")
    blocks = aiter(content)
    await anext(blocks)
    await blocks.aclose()
    assert not is_open(descriptor)


async def test_a_descriptor_is_closed_once(tmp_path: Path) -> None:
    descriptor, content = taken(tmp_path / "b")
    async for _ in content:
        pass
    again = os.open(tmp_path / "b", os.O_RDONLY)
    assert again == descriptor, "the number is free and given again"
    del content
    assert is_open(again)
    os.close(again)
    with pytest.raises(OSError):
        os.fstat(again)
