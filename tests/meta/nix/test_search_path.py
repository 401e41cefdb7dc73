"""Which folders of the daemon's PATH the programs of an evaluation come from."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from meta.nix import search_path


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder for programs, in no directory of the system."""
    return make(tmp_path / "odd" / "bin")


def make(folder: Path) -> Path:
    """Make a folder with a program."""
    folder.mkdir(parents=True)
    (folder / "git").touch(0o755)
    return folder


def inside(*folders: str | Path, state: Path | None = None) -> search_path.Programs:
    """Return what a daemon with this PATH puts into the jail."""
    return search_path.inside({"PATH": os.pathsep.join(map(str, folders))}, state)


def kept(folder: str | Path, state: Path | None = None) -> bool:
    """Return True if the jail looks for programs there."""
    return str(folder) in inside(folder, state=state).path.split(os.pathsep)


def test_a_folder_outside_the_system_is_first_and_bound_where_it_is(odd: Path) -> None:
    programs = inside(odd)
    assert programs.path.split(os.pathsep)[0] == str(odd)
    assert programs.binds == ((odd, odd),)


def test_what_lies_beside_a_bin_is_bound_too_and_nothing_else_of_its_parent(odd: Path) -> None:
    for name in ("libexec", "share", "secrets"):
        (odd.parent / name).mkdir()
    assert {path for path, _ in inside(odd).binds} == {odd, odd.parent / "libexec"}


def test_folders_of_the_system_and_of_the_store_are_not_bound_again() -> None:
    programs = inside("/usr/bin", "/nix/store/aaa-git/bin")
    assert programs.path.split(os.pathsep)[:2] == ["/usr/bin", "/nix/store/aaa-git/bin"]
    assert programs.binds == ()


def test_a_link_into_the_system_stands_for_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "profile").symlink_to("/usr/bin")
    programs = inside(tmp_path / "profile")
    assert programs.path.split(os.pathsep)[0] == "/usr/bin"
    assert programs.binds == ()


def test_relative_missing_and_root_folders_are_left_out() -> None:
    bad = ("", ".", "bin", "/no/such/folder", "/")
    assert inside(*bad).binds == ()
    assert not set(bad) & set(inside(*bad).path.split(os.pathsep))


def test_a_folder_without_a_program_is_left_out(odd: Path) -> None:
    (odd / "git").chmod(0o644)
    assert not kept(odd)
    (odd / "git").unlink()
    (odd / "folder").mkdir()
    assert not kept(odd)
    (odd / "git").symlink_to("/bin/sh")
    assert kept(odd)


@pytest.mark.parametrize(
    "folder", ["/home", "/root", "/etc", "/dev", "/proc", "/sys", "/run", "/boot", "/var", "/var/lib", "/root/bin"]
)
def test_a_folder_of_a_person_or_of_the_system_is_left_out(folder: str) -> None:
    assert inside(folder).binds == ()
    assert not kept(folder)


def test_a_folder_in_the_home_of_the_daemons_user_is_left_out(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = SimpleNamespace(pw_dir=str(odd.parent))
    monkeypatch.setattr("pwd.getpwuid", lambda uid: user)
    assert not kept(odd)
    user.pw_dir = "/"
    assert kept(odd)


def test_the_state_directory_is_left_out_with_what_is_in_it_and_what_it_is_in(tmp_path: Path) -> None:
    state = tmp_path / "above" / "state"
    inner, outer = make(state / "bin"), state.parent
    for folder in (state, outer):
        (folder / "git").touch(0o755)
    for folder in (inner, state, outer):
        assert kept(folder)
        assert not kept(folder, state=state)


def test_what_lies_beside_a_bin_is_not_bound_if_the_state_directory_is_in_it(odd: Path) -> None:
    state = odd.parent / "lib" / "state"
    state.mkdir(parents=True)
    assert inside(odd, state=state).binds == ((odd, odd),)


def test_a_folder_that_anyone_may_write_is_left_out(odd: Path) -> None:
    odd.chmod(0o777)
    assert not kept(odd)


def test_a_folder_below_one_that_anyone_may_write_is_left_out(odd: Path) -> None:
    assert kept(odd)
    odd.parent.chmod(0o777)
    assert not kept(odd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to an agent")
def test_a_folder_of_an_agents_uid_is_left_out_and_one_below_it(odd: Path) -> None:
    os.chown(odd, 600_000, 600_000)
    assert not kept(odd)
    os.chown(odd, 0, 0)
    os.chown(odd.parent, 600_000, 600_000)
    assert not kept(odd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to a group")
def test_a_folder_that_another_group_may_write_is_left_out(odd: Path) -> None:
    os.chown(odd, 0, 600_000)
    odd.chmod(0o775)
    assert not kept(odd)


def test_the_systems_folders_are_looked_through_too(odd: Path) -> None:
    also = ["/run/current-system/sw/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    assert inside(odd).path.split(os.pathsep) == [str(odd), *also]
