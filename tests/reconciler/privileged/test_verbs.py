"""The verbs against stand-ins that record: containers are made and set, and what is refused without a trace."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from meta.errors import NotFound, PermanentError, Refused
from meta.names import AgentName
from reconciler.privileged.protocol import (
    Create,
    Destroy,
    Logs,
    Request,
    SetSystem,
    Start,
    Stop,
    WriteSettings,
)
from reconciler.privileged.values import Settings
from tests.reconciler.privileged.containers import ASKED, SETTINGS, created, written
from tests.reconciler.privileged.stage import ALICE, UID, Stage


def test_create_makes_a_container_with_the_marker(stage: Stage) -> None:
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert stage.calls() == [
        f"nixos-container create alice --system-path {stage.system}",
        f"nix-env -p {stage.root}/profiles/alice/system --set {stage.system}",
    ]
    found = written(stage)
    assert (found.owner, found.system) == ("h1", stage.system)
    assert found.settings == Settings("agent", UID)
    assert not list((stage.root / "records").iterdir())
    stage.forget()
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert stage.calls() == []


def test_each_command_has_a_working_directory_of_its_own_that_is_gone_afterwards(stage: Stage) -> None:
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    folders = (stage.root / "folders").read_text().splitlines()
    assert len(set(folders)) == 2
    assert not any(Path(folder).exists() for folder in folders)


def test_a_create_that_was_cut_off_is_finished(stage: Stage) -> None:
    stage.flag("create-fails")
    with pytest.raises(PermanentError, match="disk full"):
        stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert written(stage).owner is None
    with pytest.raises(NotFound):
        stage.verbs.perform(Start(ALICE))
    stage.verbs.perform(Stop(ALICE, 0))
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    assert written(stage).owner == "h1"
    assert len(stage.calls("nixos-container")) == 1


@pytest.mark.parametrize("made", ["with a profile", "with a path"])
def test_a_container_that_somebody_made_after_a_create_was_cut_off_is_not_touched(stage: Stage, made: str) -> None:
    stage.host.creating(ALICE).write_text(f"{stage.system}\n")
    path = "SYSTEM_PATH=/nix/store/other\n" if made == "with a path" else ""
    stage.conf().write_text(f"PRIVATE_NETWORK=1\n{path}")
    if made == "with a profile":
        stage.host.profile(ALICE).parent.mkdir(parents=True, exist_ok=True)
        stage.host.profile(ALICE).symlink_to("/nix/store/other")
    with pytest.raises(Refused):
        stage.verbs.perform(Destroy(ALICE))
    assert stage.calls() == []


@pytest.mark.parametrize("text", ["PRIVATE_NETWORK=1\n", "# hive h2\nPRIVATE_NETWORK=1\n", ""])
def test_a_container_without_the_marker_is_never_touched(stage: Stage, text: str) -> None:
    stage.directories()
    stage.conf().write_text(text)
    before = stage.snapshot()
    requests: list[Request] = [
        Create(ALICE, UID, stage.system),
        SetSystem(ALICE, stage.system),
        WriteSettings(ALICE, SETTINGS),
        Start(ALICE),
        Stop(ALICE, 1),
        Destroy(ALICE),
        Logs(ALICE, 10, None),
    ]
    for request in requests:
        with pytest.raises(Refused, match="not this hive's"):
            stage.verbs.perform(request)
    assert stage.snapshot() == before


def test_a_declarative_container_is_never_touched(stage: Stage) -> None:
    marked = stage.root / "static.conf"
    marked.write_text("# hive h1\n")
    stage.conf().symlink_to(marked)
    for request in (Create(ALICE, UID, stage.system), Destroy(ALICE), WriteSettings(ALICE, SETTINGS)):
        with pytest.raises(Refused, match="not a file of hive"):
            stage.verbs.perform(request)
    assert stage.conf().is_symlink()
    assert marked.read_text() == "# hive h1\n"


@pytest.mark.parametrize(
    "request_", [SetSystem(ALICE, ""), WriteSettings(ALICE, SETTINGS), Start(ALICE), Logs(ALICE, 1, None)]
)
def test_what_needs_a_container_says_that_there_is_none(stage: Stage, request_: Request) -> None:
    if isinstance(request_, SetSystem):
        request_ = replace(request_, system=stage.system)
    with pytest.raises(NotFound):
        stage.verbs.perform(request_)
    assert stage.calls() == []


def test_set_system_sets_the_profile_and_what_boots(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    stage.forget()
    two = stage.root / "store" / Path(stage.system).name.replace("one", "two")
    two.mkdir()
    (two / "init").touch()
    for _ in range(2):
        stage.verbs.perform(SetSystem(ALICE, str(two)))
        assert (written(stage).system, written(stage).fingerprint) == (str(two), SETTINGS.fingerprint())
        assert (stage.root / "profiles/alice/system").readlink() == two
    assert set(stage.calls()) == {f"nix-env -p {stage.root}/profiles/alice/system --set {two}"}


def test_a_failed_set_leaves_what_boots(stage: Stage) -> None:
    created(stage)
    stage.flag("set-fails")
    with pytest.raises(PermanentError, match="no space"):
        stage.verbs.perform(SetSystem(ALICE, stage.build("two")))
    assert written(stage).system == stage.system


@pytest.mark.parametrize("attack", ["missing", "file", "no-init", "link-out", "link-in", "foreign"])
def test_only_a_system_in_the_store_is_set(stage: Stage, attack: str) -> None:
    created(stage)
    path = Path(stage.system.replace("-one", f"-{attack}"))
    match attack:
        case "file":
            path.touch()
        case "no-init":
            path.mkdir()
        case "link-out":
            outside = stage.root / "outside" / path.name
            outside.mkdir(parents=True)
            (outside / "init").touch()
            path.symlink_to(outside)
        case "link-in":
            inner = Path(stage.system) / path.name
            inner.mkdir()
            (inner / "init").touch()
            path.symlink_to(inner)
        case "foreign":
            path.mkdir()
            (path / "init").touch()
            if os.getuid() != 0:
                pytest.skip("needs root to give a directory away")
            os.chown(path, 30_001, 30_001)
        case _:
            pass
    with pytest.raises(Refused, match="not a system in the store"):
        stage.verbs.perform(SetSystem(ALICE, str(path)))
    assert stage.calls() == []
    assert written(stage).system == stage.system


def test_write_settings_writes_conf_and_limits_and_reloads(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert written(stage).fingerprint == SETTINGS.fingerprint()
    assert written(stage).system == stage.system
    assert "MemoryMax=512M" in stage.limits().read_text()
    assert stage.calls() == [ASKED, "systemctl daemon-reload"]


def test_systemd_reads_its_units_again_only_when_it_has_to(stage: Stage) -> None:
    created(stage)
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    stage.forget()
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert stage.calls() == [ASKED]
    stage.forget()
    stage.flag("reload-needed")  # an earlier helper died between the file and the reload
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert stage.calls() == [ASKED, "systemctl daemon-reload"]


def test_settings_that_were_edited_are_mended(stage: Stage) -> None:
    created(stage)
    stage.conf().write_text(stage.conf().read_text() + 'EXTRA_NSPAWN_FLAGS="--bind=/"\n')
    assert written(stage).fingerprint is None
    with pytest.raises(Refused, match="edited"):
        stage.verbs.perform(Start(ALICE))
    stage.verbs.perform(WriteSettings(ALICE, SETTINGS))
    assert "--bind=/ " not in stage.conf().read_text()
    stage.verbs.perform(Start(ALICE))


@pytest.mark.parametrize(("name", "role"), [("alice", "manager"), ("manager", "agent")])
def test_only_the_manager_has_the_managers_binds(stage: Stage, name: str, role: str) -> None:
    agent = AgentName(name)
    stage.verbs.perform(Create(agent, UID, stage.system))
    with pytest.raises(Refused, match="role"):
        stage.verbs.perform(WriteSettings(agent, Settings(role, UID)))
