"""The way to a path: each folder and link of it, and what hive does not believe."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from meta.errors import Refused
from meta.process.ownership import Trusted, require_own, require_own_file, way


def test_the_way_has_each_link_and_then_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    parts = [(path.relative_to(tmp_path), last) for path, _, last in way(tmp_path / "link" / "file") if path > tmp_path]
    assert parts == [(Path("link"), False), (Path("real"), False), (Path("real/file"), True)]


def test_links_that_lead_nowhere_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links") as refused:
        list(way(tmp_path / "a"))
    assert refused.value.errno == errno.ELOOP
    with pytest.raises(Refused, match="too many links lead to"):
        require_own(tmp_path / "a", Trusted.caller())


def test_what_does_not_exist_yet_belongs_to_nobody_else(tmp_path: Path) -> None:
    require_own(tmp_path / "none" / "below", Trusted.caller())


def test_the_remedy_for_an_own_file_that_every_user_may_write_is_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "network.toml"
    file.touch()
    file.chmod(0o666)
    with pytest.raises(Refused) as error:
        require_own_file(file, Trusted.caller())
    assert error.value.hint == "see what it holds, then take that away with chmod o-w"
