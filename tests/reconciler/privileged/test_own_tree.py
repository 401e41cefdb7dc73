"""own-directory of a proposed work tree: all that the daemon made in it, and nothing else."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import Refused
from reconciler.privileged import values
from reconciler.privileged.protocol import OwnDirectory
from reconciler.privileged.verbs import Verbs
from tests.reconciler.privileged.stage import ALICE, UID, Stage

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give directories away")
DAEMON = 30_000
HARNESS = UID + values.HARNESS_UID


@pytest.fixture
def config(stage: Stage) -> Path:
    """A work tree that the daemon just made."""
    made = stage.root / "state" / "proposed" / "alice" / "config"
    (made / ".git" / "objects").mkdir(parents=True)
    (made / "agent.toml").touch(0o644)
    (made / ".git" / "objects" / "pack").touch(0o444)
    (made / "link").symlink_to("/etc/passwd")
    (made / "agent.toml").chmod(0o644)
    for path in (stage.root / "state", *(stage.root / "state").rglob("*")):
        os.chown(path, DAEMON, DAEMON, follow_symlinks=False)
    return made


def own(stage: Stage) -> None:
    """One request."""
    Verbs(replace(stage.host, uid=DAEMON, gid=DAEMON)).perform(OwnDirectory(ALICE, "proposed", UID))


def whose(path: Path) -> tuple[int, int]:
    """uid, mode."""
    found = path.lstat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def test_the_whole_tree_goes_to_the_managers_harness_and_stays_readable(stage: Stage, config: Path) -> None:
    own(stage)
    assert whose(config) == (HARNESS, 0o755)
    assert whose(config / "agent.toml") == (HARNESS, 0o644)
    assert whose(config / ".git" / "objects" / "pack") == (HARNESS, 0o444)
    assert whose(config / "link")[0] == DAEMON
    assert Path("/etc/passwd").stat().st_uid == 0
    assert whose(config.parent)[0] == DAEMON


def test_a_tree_that_was_given_away_is_not_looked_into(stage: Stage, config: Path) -> None:
    own(stage)
    hidden = config / "theirs"
    hidden.touch()
    os.chown(hidden, DAEMON, DAEMON)
    own(stage)
    assert whose(hidden)[0] == DAEMON


def test_a_kill_half_way_is_made_good(stage: Stage, config: Path) -> None:
    os.chown(config / "agent.toml", HARNESS, UID)
    own(stage)
    assert whose(config / ".git")[0] == HARNESS


@pytest.mark.parametrize("trap", ["hard link", "fifo", "root's file"])
def test_what_is_not_plainly_the_daemons_is_refused(stage: Stage, config: Path, trap: str) -> None:
    victim = stage.root / "victim"
    victim.touch()
    inside = config / "trap"
    if trap == "hard link":
        os.chown(victim, DAEMON, DAEMON)
        inside.hardlink_to(victim)
    elif trap == "fifo":
        os.mkfifo(inside)
        os.chown(inside, DAEMON, DAEMON)
    else:
        inside.touch()
        os.chown(inside, 4711, 4711)
    with pytest.raises(Refused):
        own(stage)
    assert victim.stat().st_uid in (0, DAEMON)
    assert whose(config)[0] == DAEMON, "the tree is given only when all in it is"
