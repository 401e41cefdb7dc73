"""Root takes over a container of an older hive if its own file says whose it is, and changes no other."""

from __future__ import annotations

import os

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
