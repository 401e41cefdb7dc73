"""Root takes over a container of an older hive if its own file says whose it is, and changes no other."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from meta.errors import Refused
from reconciler.privileged.protocol import Create, Destroy, SetSystem, Stop
from reconciler.privileged.values import HARNESS_UID
from tests.reconciler.privileged.containers import written
from tests.reconciler.privileged.stage import ALICE, UID, Stage

OWNER = UID + HARNESS_UID


def older(stage: Stage, flake: str = "{}/applied/alice#default", more: str = "") -> None:
    """Write the conf file that `nixos-container create --flake` made, with the container's files beside it."""
    stage.directories()
    stage.conf().write_text(f"PRIVATE_NETWORK=1\nFLAKE={flake.format(stage.host.state)}\n{more}")
    login = stage.host.state / "agents/alice/home/.claude"
    login.mkdir()
    (login / ".credentials.json").write_text("secret")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_create_takes_over_its_conf_and_gives_its_files_to_the_harness(stage: Stage) -> None:
    older(stage)
    stage.verbs.perform(Stop(ALICE, 0))
    assert "systemctl stop container@alice.service" in " ".join(stage.calls("systemctl"))
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    found = written(stage)
    assert (found.owner, found.system) == ("h1", stage.system)
    assert stage.calls("nixos-container") == []
    home = stage.host.state / "agents/alice/home"
    assert [path.stat().st_uid for path in (home, home / ".claude", home / ".claude/.credentials.json")] == [OWNER] * 3
    assert (home / ".claude/.credentials.json").read_text() == "secret"


@pytest.mark.parametrize(
    ("flake", "more"),
    [
        ("/elsewhere/applied/alice", ""),
        ("{}/applied/bob#default", ""),
        ("{}/applied/alice/../bob", ""),
        ("{}/applied/alice", "FLAKE=github:x/y\n"),
    ],
)
def test_a_container_with_another_flake_is_never_touched(stage: Stage, flake: str, more: str) -> None:
    older(stage, flake, more)
    before = stage.snapshot()
    for request in (Create(ALICE, UID, stage.system), SetSystem(ALICE, stage.system), Stop(ALICE, 0), Destroy(ALICE)):
        with pytest.raises(Refused, match="not this hive's"):
            stage.verbs.perform(request)
    assert stage.snapshot() == before


def put_odd(home: Path) -> None:
    """Put files into a home that are ordinary in a container without a user namespace."""
    (home / "object").write_text("x")
    (home / "clone").hardlink_to(home / "object")
    os.mkfifo(home / "pipe")
    os.mknod(home / "S.gpg-agent", stat.S_IFSOCK | 0o600)
    (home / "pgdata").mkdir()
    (home / "pgdata/table").touch()
    for path in (home / "pgdata", home / "pgdata/table"):
        os.chown(path, 71, 70)
    (home / "of-1000").touch()
    os.chown(home / "of-1000", 1000, 100)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_each_user_of_the_older_container_gets_its_place_in_the_new_range(stage: Stage) -> None:
    older(stage)
    home = stage.host.state / "agents/alice/home"
    put_odd(home)
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in home.rglob("*")}
    assert owners["of-1000"] == (OWNER, UID + 100)
    assert owners["pgdata"] == owners["table"] == (UID + 71, UID + 70)
    assert {owners[name] for name in ("object", "clone", "pipe", "S.gpg-agent")} == {(OWNER, OWNER)}
    assert (home / "object").stat().st_nlink == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_cannot_be_given_is_named_at_once_and_nothing_is_given(stage: Stage) -> None:
    older(stage)
    home, outside = stage.host.state / "agents/alice/home", stage.root / "outside"
    outside.touch()
    (home / "linked").hardlink_to(outside)
    (home / "foreign").touch()
    os.chown(home / "foreign", UID + 5 * 65_536, 0)
    with pytest.raises(Refused) as refused:
        stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert "home/linked (a hard link with a name elsewhere)" in refused.value.summary
    assert f"home/foreign (of uid {UID + 5 * 65_536}, gid 0)" in refused.value.summary
    assert {path.stat().st_uid for path in (outside, home, home / ".claude")} == {0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_kill_between_the_two_names_of_a_file_is_made_good(stage: Stage) -> None:
    older(stage)
    home = stage.host.state / "agents/alice/home"
    (home / "done").mkdir()
    (home / "done/one").touch()
    (home / "two").hardlink_to(home / "done/one")
    for path in (home / "done/one", home / "done"):
        os.chown(path, OWNER, OWNER)
    (home / "left").touch()
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert (home / "left").stat().st_uid == (home / "two").stat().st_uid == OWNER
