"""Binding a unix socket: its mode, its owner, and whatever stands in its way."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from api.sockets.listener import bind, connect, make_directory
from api.sockets.principals import peer_uid
from meta.errors import Conflict, PermanentError

LIMIT = 1024


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_socket_has_mode_0660_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        bound = bind(tmp_path / "s")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    assert bound.present()
    bound.remove()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    bind(tmp_path / "s").sock.close()
    bound = bind(tmp_path / "s", exclusive=True)
    assert bound.present()
    bound.remove()


def test_a_socket_that_somebody_listens_on_is_not_taken_over_when_exclusive(tmp_path: Path) -> None:
    first = bind(tmp_path / "s")
    with pytest.raises(Conflict, match="already listens"):
        bind(tmp_path / "s", exclusive=True)
    assert first.present()
    first.remove()


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_what_is_no_socket_is_never_removed(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    path = tmp_path / "s"
    path.write_text("precious") if kind == "file" else path.symlink_to(other)
    with pytest.raises(Conflict, match="is not a socket"):
        bind(path, exclusive=True)
    assert path.read_text() == other.read_text() == "precious"


@pytest.mark.parametrize("kind", ["file", "symlink", "directory"])
def test_what_an_agent_puts_in_the_way_of_its_socket_is_moved_aside(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    path = tmp_path / "s"
    if kind == "directory":
        path.mkdir()
    else:
        path.write_text("junk") if kind == "file" else path.symlink_to(other)
    bound = bind(path)
    assert bound.present()
    bound.remove()
    assert other.read_text() == "precious"
    assert len(list(tmp_path.glob("s.aside-*"))) == 1


def test_a_directory_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermanentError, match="cannot listen"):
        bind(tmp_path / "link" / "s")


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    make_directory(deep)
    bound = bind(deep / "s")
    with socket.socket(socket.AF_UNIX) as client:
        connect(client, deep / "s")
        assert peer_uid(client) == os.geteuid()
    bound.remove()


def test_a_directory_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    before = (tmp_path / "d").stat()
    make_directory(tmp_path / "d")
    assert (tmp_path / "d").stat() == before
