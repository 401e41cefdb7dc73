"""own-directory as root: what is made and for whom, and that no trap below the roots leads root anywhere else."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import HiveError, Refused
from meta.names import MANAGER, AgentName
from reconciler.privileged import values
from reconciler.privileged.protocol import Destroy, OwnDirectory, RemoveDirectories
from reconciler.privileged.verbs import Verbs
from tests.reconciler.privileged.stage import ALICE, UID, Stage

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give directories away")
DAEMON = 30_000
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def verbs(stage: Stage) -> Verbs:
    """The helper of a daemon that is not root and owns the two roots."""
    for path in ("state", "runtime"):
        os.chown(stage.root / path, DAEMON, DAEMON)
    return Verbs(replace(stage.host, uid=DAEMON, gid=DAEMON))


def whose(path: Path) -> tuple[int, int, int]:
    """uid, gid, mode."""
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def own(verbs: Verbs, kind: str, name: AgentName = ALICE, uid: int = UID) -> None:
    """One request."""
    verbs.perform(OwnDirectory(name, kind, uid))


def test_each_kind_gets_its_owner(stage: Stage, verbs: Verbs) -> None:
    for _ in range(2):
        for kind in values.KINDS:
            own(verbs, kind)
        assert whose(stage.root / "state/agents/alice/state") == (UID, UID, 0o700)
        assert whose(stage.root / "state/agents/alice/home") == (UID, UID, 0o700)
        # the harness is in the group of the container's root, whatever its uid; the CLI is not
        assert whose(stage.root / "state/agents/alice/pods") == (DAEMON, UID, 0o2770)
        assert whose(stage.root / "state/proposed/alice/config") == (UID + values.HARNESS_UID, UID, 0o755)
        assert whose(stage.root / "runtime/agents/alice") == (DAEMON, UID, 0o2750)
        assert whose(stage.root / "state/agents/alice") == (DAEMON, DAEMON, 0o711)
        assert whose(stage.root / "state/proposed/alice") == (DAEMON, DAEMON, 0o755)
    own(verbs, "sockets", MANAGER)
    assert whose(stage.root / "runtime/manager") == (DAEMON, UID, 0o2750)


EGRESS = 998


@pytest.fixture
def with_egress(stage: Stage, verbs: Verbs) -> Verbs:
    """The helper of a host whose hive-egress has a user of its own. It follows `verbs`, which owns the two roots."""
    return Verbs(replace(stage.host, uid=DAEMON, gid=DAEMON, egress_uid=EGRESS))


def test_the_way_out_belongs_to_hive_egress_and_only_its_container_may_enter(stage: Stage, with_egress: Verbs) -> None:
    for _ in range(2):
        own(with_egress, "egress")
        assert whose(stage.root / "runtime/egress/alice") == (EGRESS, UID, 0o750)
        assert whose(stage.root / "runtime/egress") == (DAEMON, DAEMON, 0o711)
    own(with_egress, "sockets")
    assert whose(stage.root / "runtime/agents/alice") == (DAEMON, UID, 0o2750)


def test_the_way_out_of_an_older_hive_changes_its_owner_and_not_its_inode(
    stage: Stage, verbs: Verbs, with_egress: Verbs
) -> None:
    own(verbs, "egress")
    path = stage.root / "runtime/egress/alice"
    (path / "egress.sock").touch()
    before = path.stat().st_ino
    own(with_egress, "egress")
    assert (path.stat().st_ino, *whose(path)) == (before, EGRESS, UID, 0o750)
    assert (path / "egress.sock").exists()


def test_the_way_out_of_an_agent_with_another_range_is_given_again(stage: Stage, with_egress: Verbs) -> None:
    own(with_egress, "egress")
    own(with_egress, "egress", uid=UID + values.UIDS)
    assert whose(stage.root / "runtime/egress/alice") == (EGRESS, UID + values.UIDS, 0o750)


def test_a_way_out_of_another_user_is_refused(stage: Stage, with_egress: Verbs) -> None:
    own(with_egress, "egress")
    os.chown(stage.root / "runtime/egress/alice", UID, UID)
    with pytest.raises(Refused, match=f"belongs to uid {UID}"):
        own(with_egress, "egress")


@pytest.mark.parametrize("request_", [Destroy(ALICE), RemoveDirectories(ALICE)])
def test_the_way_out_goes_with_the_container_though_the_daemon_may_not_enter_it(
    stage: Stage, with_egress: Verbs, request_: Destroy | RemoveDirectories
) -> None:
    own(with_egress, "egress")
    (stage.root / "runtime/egress/alice/egress.sock").touch()
    with_egress.perform(request_)
    assert not (stage.root / "runtime/egress/alice").exists()


@pytest.mark.parametrize("request_", [Destroy(ALICE), RemoveDirectories(ALICE)])
def test_the_sockets_of_pods_go_with_the_container_and_no_link_among_them_is_followed(
    stage: Stage, verbs: Verbs, request_: Destroy | RemoveDirectories
) -> None:
    own(verbs, "pods")
    pods, outside = stage.root / "state/agents/alice/pods", stage.root / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (pods / "pod.sock").symlink_to(outside / "kept")
    (pods / "deep").mkdir()
    (pods / "deep/link").symlink_to(outside)
    verbs.perform(request_)
    assert not pods.exists()
    assert (outside / "kept").exists()


def test_a_destroy_does_not_fail_for_what_an_agent_put_among_the_sockets_of_its_pods(
    stage: Stage, verbs: Verbs
) -> None:
    own(verbs, "pods")
    pods = stage.root / "state/agents/alice/pods"
    pods.joinpath(*"x" * 120).mkdir(parents=True)
    verbs.perform(Destroy(ALICE))
    assert pods.exists()
    with pytest.raises(Refused, match="deeper than"):
        verbs.perform(RemoveDirectories(ALICE))


def test_what_the_container_made_of_it_is_left_alone(stage: Stage, verbs: Verbs) -> None:
    own(verbs, "home")
    path = stage.root / "state/agents/alice/home"
    os.chown(path, UID + 1000, UID + 100)
    path.chmod(0o750)
    own(verbs, "home")
    assert whose(path) == (UID + 1000, UID + 100, 0o750)


def test_a_directory_of_the_daemon_is_given_away_without_its_contents(stage: Stage, verbs: Verbs) -> None:
    stage.directories("state/agents/alice/state/deep")
    for path in ("state/agents", "state/agents/alice", "state/agents/alice/state", "state/agents/alice/state/deep"):
        os.chown(stage.root / path, DAEMON, DAEMON)
    own(verbs, "state")
    assert whose(stage.root / "state/agents/alice/state")[:2] == (UID, UID)
    assert whose(stage.root / "state/agents/alice/state/deep")[:2] == (DAEMON, DAEMON)


@pytest.mark.parametrize("owner", [UID + values.UIDS, UID - 1, 1])
def test_a_directory_is_taken_from_nobody_else(stage: Stage, verbs: Verbs, owner: int) -> None:
    own(verbs, "state")
    path = stage.root / "state/agents/alice/state"
    os.chown(path, owner, owner)
    with pytest.raises(Refused, match=f"belongs to uid {owner}"):
        own(verbs, "state")
    assert whose(path)[0] == owner


@pytest.mark.parametrize("kind", values.KINDS)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("trap", ["absolute", "relative", "dangling", "file", "fifo"])
def test_no_trap_is_followed_at_any_depth(stage: Stage, verbs: Verbs, kind: str, depth: int, trap: str) -> None:
    outside = stage.root / "outside"
    (outside / "alice" / kind).mkdir(parents=True)
    (outside / kind).mkdir()
    parts = {"sockets": ("agents", "alice"), "egress": ("egress", "alice"), "proposed": ("proposed", "alice", "config")}
    below = parts.get(kind, ("agents", "alice", kind))[:depth]
    path = stage.root.joinpath("runtime" if kind in ("sockets", "egress") else "state", *below)
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in path.parents[: len(below) - 1]:
        os.chown(parent, DAEMON, DAEMON)
    match trap:
        case "absolute":
            path.symlink_to(outside)
        case "relative":
            path.symlink_to(os.path.relpath(outside, path.parent))
        case "dangling":
            path.symlink_to(stage.root / "nowhere")
        case "file":
            path.touch()
        case _:
            os.mkfifo(path)
    before = {where: whose(where) for where in stage.root.rglob("*")}
    with pytest.raises(Refused, match="is not a directory"):
        own(verbs, kind)
    assert {where: whose(where) for where in stage.root.rglob("*")} == before


def test_the_root_itself_may_not_be_a_symlink(stage: Stage, verbs: Verbs) -> None:
    (stage.root / "state").rename(stage.root / "moved")
    (stage.root / "state").symlink_to(stage.root / "moved")
    with pytest.raises(Refused):
        own(verbs, "state")
    assert not list((stage.root / "moved").iterdir())


def test_a_racer_that_swaps_directories_for_symlinks_leads_root_nowhere(stage: Stage, verbs: Verbs) -> None:
    outside = stage.root / "outside"
    (outside / "state").mkdir(parents=True)
    alice = stage.root / "state/agents/alice"
    own(verbs, "state")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            # each may fail where the helper was quicker
            shutil.rmtree(alice, ignore_errors=True)
            with contextlib.suppress(OSError):
                alice.symlink_to(outside)
            with contextlib.suppress(OSError):
                alice.unlink()

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        for _ in range(300):
            with contextlib.suppress(HiveError):
                own(verbs, "state")
    finally:
        stop.set()
        racer.join(10)
    assert whose(outside)[:2] == (0, 0)
    assert whose(outside / "state")[:2] == (0, 0)


_IN_A_NAMESPACE = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from reconciler.privileged.directories import Ownership, own
from meta.errors import Refused
root = Path(sys.argv[2])
subprocess.run(["mount", "--bind", root / "outside", root / "state/agents/alice"], check=True, timeout=10)
right = Ownership(524288, 524288, 0o700, lambda uid, gid: uid == 524288, frozenset({0, 30000}))
daemon = Ownership(30000, 30000, 0o711, lambda uid, gid: uid == 30000, frozenset({0, 30000}))
try:
    own(root / "state", ("agents", "alice", "state"), daemon, right)
except Refused as error:
    print(error.summary)
"""


def test_a_mount_is_not_given_away_even_of_the_same_file_system(stage: Stage) -> None:
    stage.directories("state/agents/alice", "outside/state")
    argv = ["unshare", "--mount", sys.executable, "-I", "-c", _IN_A_NAMESPACE, str(REPOSITORY), str(stage.root)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout.strip().endswith("state/agents/alice is a mount of its own"), ended.stderr
    assert whose(stage.root / "outside/state")[:2] == (0, 0)
    assert whose(stage.root / "outside")[:2] == (0, 0)
