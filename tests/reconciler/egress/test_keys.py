"""The files of keys: which are used, and what is reported of the others."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from meta.network.routes import KINDS, Route
from meta.network.verdict import Verdict
from reconciler.egress.keys import KEY_LIMIT, Keys
from reconciler.egress.ports import Denied


def route(file: Path) -> Route:
    kind = KINDS["anthropic"]
    return Route("anthropic", "anthropic", kind.upstream, str(file), kind.header, kind.value, kind.paths)


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"sk-key", b"sk-key\n", b"sk-key\r\n", b"  sk-key \n"])
def test_a_key_is_the_one_line_of_its_file(content: bytes, tmp_path: Path) -> None:
    file = route(write(tmp_path / "key", content))
    keys = Keys()
    assert (keys.key(file), keys.problem(file)) == ("sk-key", "")


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        (b"secret", 0o640, "others may read or change it, mode 0640; chmod 0600"),
        (b"secret", 0o604, "others may read"),
        (b"secret", 0o620, "others may read or change it"),
        (b"", 0o600, "it is empty"),
        (b"\n", 0o600, "it is empty"),
        (b"secret\nsecret\n", 0o600, "it is not one line of ASCII"),
        (b"secret\0", 0o600, "it is not one line of ASCII"),
        ("sécret".encode(), 0o600, "it is not one line of ASCII"),
        (b"secret" * KEY_LIMIT, 0o600, f"it is longer than {KEY_LIMIT} bytes"),
    ],
)
def test_a_file_that_may_not_be_used_is_a_problem_with_a_remedy(
    content: bytes, mode: int, problem: str, tmp_path: Path
) -> None:
    file = route(write(tmp_path / "key", content, mode))
    keys = Keys()
    assert problem in keys.problem(file)
    with pytest.raises(Denied) as denied:
        keys.key(file)
    assert denied.value.verdict is Verdict.NO_KEY
    assert not any(word in denied.value.phrase + keys.problem(file) for word in ("secret", "cret"))
    assert str(tmp_path) not in denied.value.phrase


def test_a_missing_file_and_what_is_no_file_are_problems_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        keys = Keys()
        problems = [keys.problem(route(tmp_path / name)) for name in ("missing", "pipe", "socket", ".")]
    assert problems[0].startswith(f"{tmp_path}/missing: No such file")
    assert problems[1] == f"{tmp_path}/pipe: it is not a regular file"
    assert all(problems)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_a_file_of_another_user_is_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path / "key", b"secret")
    os.chown(file, 1234, 1234)
    assert "it belongs to uid 1234" in Keys().problem(route(file))


def test_the_mode_of_a_file_in_systemd_s_directory_is_systemd_s_business(tmp_path: Path) -> None:
    file = route(write(tmp_path / "key", b"sk-key", 0o440))
    assert Keys(tmp_path).key(file) == "sk-key"
    assert Keys(tmp_path / "other").problem(file)


def test_a_file_that_changes_is_read_again_and_one_that_gets_better_too(tmp_path: Path) -> None:
    path = write(tmp_path / "key", b"one", 0o644)
    keys = Keys()
    assert keys.problem(route(path))
    path.chmod(0o600)
    assert keys.key(route(path)) == "one"
    write(tmp_path / "new", b"two").rename(path)
    assert keys.key(route(path)) == "two"
    path.unlink()
    assert keys.problem(route(path))
    write(path, b"three")
    assert keys.key(route(path)) == "three"


def test_a_link_to_a_key_is_followed_and_what_it_leads_to_is_checked(tmp_path: Path) -> None:
    target = write(tmp_path / "target", b"one")
    (tmp_path / "key").symlink_to(target)
    keys = Keys()
    assert keys.key(route(tmp_path / "key")) == "one"
    target.chmod(0o644)
    assert keys.problem(route(tmp_path / "key"))
