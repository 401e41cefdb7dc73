"""hive's own files are read without a wait and without an end, and what stands in their place is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from meta import own_file
from meta.errors import Damaged

pytestmark = pytest.mark.timeout(10)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def test_a_file_is_read_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert own_file.read(tmp_path / "a") == b"x" * 100_000


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
        (make_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/null"), "a link"),
        (lambda path: path.symlink_to("nowhere"), "a link"),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_named(tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    make(tmp_path / "a")
    with pytest.raises(Damaged, match=f"a is damaged: it is {what}, not a file"):
        own_file.read(tmp_path / "a")


def test_a_file_that_is_longer_than_expected_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(Damaged, match="longer than 100 bytes"):
        own_file.read(tmp_path / "a", 100)


def test_a_file_of_just_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert own_file.read(tmp_path / "a", 5) == b"12345"


def test_a_link_is_followed_on_demand(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "b").symlink_to("a")
    assert own_file.read(tmp_path / "b", follow=True) == b"text"


def test_a_missing_file_is_missing_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        own_file.read(tmp_path / "a")
