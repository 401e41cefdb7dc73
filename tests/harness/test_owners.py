"""Whose is what in /state, before the harness starts. These tests need root, as what they test does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.compaction import NOTES_FILE
from harness.enclosure import WORK as ENCLOSURES_WORK
from harness.environment import read_environment
from harness.hold import PAUSE_FILE
from harness.model import MODEL_FILE
from harness.owners import KEPT, NOTES, OWN, WORK, Owners, set_owners
from harness.session import SESSION_FILE

APART = Owners(harness=70_001, cli=70_002, cli_group=70_003, shared=70_004)
ONE = Owners(harness=70_002, cli=70_002, cli_group=70_003, shared=70_004)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away: run the tests as root")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state of an older hive: all in it belongs to the agent."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, ONE.cli, ONE.cli_group)
    return folder


def put(path: Path, text: str = "text", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, ONE.cli, ONE.cli_group)
    return path


def owner(path: Path) -> tuple[int, int, str]:
    status = path.lstat()
    return status.st_uid, status.st_gid, f"{stat.S_IMODE(status.st_mode):o}"


def as_cli(code: str, *words: object) -> str:
    """Return what a program under the CLI's uid prints, or the name of the error that it ends with."""
    demote = f"import os; os.setgroups([{APART.shared}]); os.setgid({APART.cli_group}); os.setuid({APART.cli})\n"
    argv = [sys.executable, "-I", "-S", "-c", f"{demote}import sys; words = sys.argv[1:]\n{code}", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, cwd="/")
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1].partition(":")[0]


def open_to_all(folder: Path) -> None:
    """Let another uid reach pytest's folder."""
    for each in folder.parents:
        if each.is_relative_to("/tmp") and each != Path("/tmp"):
            each.chmod(0o711)


def test_an_older_state_is_divided_and_what_the_agent_made_is_untouched(state: Path) -> None:
    for name in KEPT:
        put(state / name, name)
    (state / WORK).mkdir(mode=0o750)
    os.chown(state / WORK, 12, 13)
    put(state / "work" / "code.py")
    notes, other = put(state / NOTES), put(state / "todo.txt", mode=0o644)
    set_owners(state, APART)
    assert owner(state) == (0, APART.shared, "3770")
    assert owner(state / OWN)[::2] == (APART.harness, "700")
    for name in KEPT:
        assert not (state / name).exists()
        assert (state / OWN / name).read_text() == name
        assert owner(state / OWN / name)[::2] == (APART.harness, "600")
    assert owner(state / WORK) == (12, 13, "750")
    assert owner(other) == (ONE.cli, ONE.cli_group, "644")
    assert owner(notes) == (APART.cli, APART.shared, "640")


def test_a_new_state_has_a_folder_for_each_of_both(state: Path) -> None:
    set_owners(state, APART)
    assert owner(state / WORK)[0] == APART.cli
    assert owner(state / OWN)[0] == APART.harness
    assert sorted(path.name for path in state.iterdir()) == [OWN, WORK]


def test_after_the_first_time_a_file_of_the_agent_with_such_a_name_means_nothing(state: Path) -> None:
    set_owners(state, APART)
    put(state / MODEL_FILE, "forged")
    set_owners(state, APART)
    assert list((state / OWN).iterdir()) == []
    assert (state / MODEL_FILE).read_text() == "forged"


def test_a_division_that_was_cut_off_is_finished(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEPT:
        put(state / name, name)
    rename, count = os.rename, 0

    def fail(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError("power is out")
        rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="power is out"):
            set_owners(state, APART)
    set_owners(state, APART)
    assert sorted(path.name for path in (state / OWN).iterdir()) == sorted(KEPT)


def test_the_owner_follows_the_runtime_and_nothing_is_lost(state: Path) -> None:
    put(state / MODEL_FILE, "opus")
    for owners in (ONE, APART, ONE):
        set_owners(state, owners)
        assert (state / OWN / MODEL_FILE).read_text() == "opus"
        assert owner(state / OWN / MODEL_FILE)[0] == owners.harness
    assert owner(state) == (ONE.cli, ONE.cli_group, "700")


def test_links_pipes_and_second_names_lead_root_nowhere(state: Path, tmp_path: Path) -> None:
    canary = put(tmp_path / "canary", "canary", 0o644)
    os.chown(canary, 0, 0)
    (state / MODEL_FILE).symlink_to(canary)
    os.link(canary, state / SESSION_FILE)
    os.mkfifo(state / PAUSE_FILE)
    (state / NOTES).symlink_to(canary)
    (state / OWN).symlink_to(tmp_path)
    (state / ".hive.new").symlink_to(tmp_path)
    (state / WORK).symlink_to(tmp_path)
    before = owner(tmp_path), owner(canary)
    set_owners(state, APART)
    assert (owner(tmp_path), owner(canary), canary.read_text()) == (*before, "canary")
    assert list((state / OWN).iterdir()) == []
    assert (state / f"{OWN}.aside-1").is_symlink()


def test_a_folder_of_the_agent_in_the_place_of_an_unfinished_division_is_not_used(state: Path) -> None:
    (state / ".hive.new").mkdir()
    os.chown(state / ".hive.new", ONE.cli, ONE.cli_group)
    put(state / ".hive.new" / MODEL_FILE, "forged")
    set_owners(state, APART)
    assert list((state / OWN).iterdir()) == []


def test_a_folder_of_the_cli_in_the_place_of_the_harnesss_is_not_adopted(state: Path) -> None:
    set_owners(state, APART)
    (state / OWN).rmdir()  # only root could
    (state / OWN).mkdir()
    os.chown(state / OWN, APART.cli, APART.cli_group)
    put(state / OWN / MODEL_FILE, "forged")
    for owners in (APART, ONE, APART):
        set_owners(state, owners)
        assert list((state / OWN).iterdir()) == []


def test_what_is_so_already_is_not_written(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEPT:
        put(state / name)
    for owners in (APART, ONE):
        set_owners(state, owners)
        with monkeypatch.context() as patch:
            for name in ("fchown", "fchmod", "rename"):
                patch.delattr(os, name)
            set_owners(state, owners)


REPLACE = """
for attempt in (os.unlink, lambda path: os.rename(path, path + ".moved"), lambda path: open(path, "a"), os.listdir):
    for path in words:
        try:
            attempt(path)
            print(path, "changed")
        except OSError as error:
            print(type(error).__name__)
"""


def test_the_cli_can_neither_change_nor_replace_what_the_harness_keeps(state: Path) -> None:
    open_to_all(state)
    put(state / MODEL_FILE)
    set_owners(state, APART)
    answers = set(as_cli(REPLACE, state / OWN, state / OWN / MODEL_FILE).splitlines())
    assert answers <= {"PermissionError", "IsADirectoryError", "NotADirectoryError"}
    assert (state / OWN / MODEL_FILE).read_text() == "text"


def test_the_cli_writes_its_own_files_and_folders_in_the_state(state: Path) -> None:
    open_to_all(state)
    set_owners(state, APART)
    write = "os.umask(0o027); open(words[0], 'w').write('mine'); os.rename(words[0], words[1]); print('done')"
    assert as_cli(write, state / "draft", state / NOTES) == "done"
    assert owner(state / NOTES) == (APART.cli, APART.shared, "640")
    assert as_cli("os.mkdir(words[0]); open(words[0] + '/a', 'w'); print('done')", state / WORK / "x") == "done"
    assert as_cli("os.unlink(words[0]); print('done')", state / NOTES) == "done"


def test_the_names_are_those_that_the_harness_uses() -> None:
    environment = read_environment({"HIVE_AGENT": "alice", "HIVE_STATE": "/state", "HIVE_OWN": f"/state/{OWN}"})
    assert environment.events.name in KEPT
    assert {MODEL_FILE, SESSION_FILE, PAUSE_FILE} <= set(KEPT)
    assert (WORK, NOTES) == (ENCLOSURES_WORK, NOTES_FILE)


def test_words_that_name_no_user_are_an_error_and_nothing_is_changed(state: Path) -> None:
    before = owner(state)
    argv = [sys.executable, "-m", "harness.cli", "owners", str(state), "root", "no-such-user", "root"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert (done.returncode, "no-such-user" in done.stderr) == (1, True)
    assert owner(state) == before
