"""The id of a state directory is made once and never made up for a damaged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import Damaged
from reconciler.daemon.state_directory import owner


def test_the_id_stays(tmp_path: Path) -> None:
    assert owner(tmp_path / "owner") == owner(tmp_path / "owner")


@pytest.mark.parametrize("content", ["", "garbage", "0123"])
def test_a_damaged_id_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "owner").write_text(content)
    with pytest.raises(Damaged, match="owner"):
        owner(tmp_path / "owner")


def test_an_id_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "owner").mkdir()
    with pytest.raises(Damaged, match="owner is damaged: it is a folder"):
        owner(tmp_path / "owner")
