"""What the backend concludes from its own records and from the files that root wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.model import ContainerSettings, Limits, Role
from meta.names import AgentName
from reconciler.backends.nixos.helper import plain_settings
from reconciler.backends.nixos.records import NixosRecords, Where, adopt, older_containers
from reconciler.backends.records import WrittenSettings
from reconciler.privileged import conf
from reconciler.privileged.conf import Conf, Places
from reconciler.privileged.values import Bounds

ALICE = AgentName("alice")
SETTINGS = ContainerSettings(Role.AGENT, 655_360, Limits(memory_mib=512, pids=64, cpu_percent=50))
PLACES = Places("/var/lib/hyperhive", "/run/hyperhive")


class Disk:
    """A host's files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.where = Where("hive", folder / "etc", folder / "profiles", Bounds(store=str(folder / "store")))
        self.folder = folder / "backend" / "alice"
        for path in (self.where.etc, self.where.profiles / "alice", self.folder, folder / "store"):
            path.mkdir(parents=True)
        self.system = folder / "store" / f"{'a' * 32}-nixos-system-alice"
        self.system.mkdir()
        self.records = NixosRecords(ALICE, self.folder, self.where, folder)

    def record(self) -> None:
        """It was made."""
        (self.folder / "hive.json").write_text(json.dumps({"owner": "hive"}))
        (self.folder / "settings.json").write_text(json.dumps(WrittenSettings.of(SETTINGS)))

    def switch(self) -> None:
        """Root was asked for a system, and did it."""
        (self.folder / "system.json").write_text(json.dumps({"id": "1" * 20, "path": str(self.system)}))
        self.write("hive")
        (self.where.profiles / "alice" / "system").symlink_to(self.system)

    def write(self, owner: str) -> None:
        """The conf file."""
        text = conf.render(ALICE, Conf(owner, plain_settings(SETTINGS), str(self.system)), PLACES)
        (self.where.etc / "alice.conf").write_text(text)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_the_helper_has_the_same_fingerprint_for_the_same_settings() -> None:
    for settings in (SETTINGS, ContainerSettings(Role.MANAGER, 720_896, Limits(None, None, None), isolated=False)):
        assert plain_settings(settings).fingerprint() == settings.fingerprint()


def test_nothing_is_a_missing_container(disk: Disk) -> None:
    assert not disk.records.exists


def test_one_that_was_made_exists_without_a_system(disk: Disk) -> None:
    disk.record()
    assert (disk.records.exists, disk.records.ours, disk.records.on_host) == (True, True, False)
    assert disk.records.switched_to is None


def test_one_that_was_switched_shows_its_generation_and_fingerprint(disk: Disk) -> None:
    disk.record()
    disk.switch()
    assert (disk.records.exists, disk.records.ours) == (True, True)
    assert disk.records.switched_to is not None
    assert disk.records.switched_to.id == "1" * 20
    assert disk.records.written is not None
    assert disk.records.written.fingerprint == SETTINGS.fingerprint()


def test_one_whose_conf_file_was_deleted_is_missing_although_hive_has_records(disk: Disk) -> None:
    disk.record()
    disk.switch()
    (disk.where.etc / "alice.conf").unlink()
    assert not disk.records.exists


def test_a_system_counts_only_if_conf_profile_and_record_agree(disk: Disk) -> None:
    disk.record()
    disk.switch()
    profile = disk.where.profiles / "alice" / "system"
    profile.unlink()
    assert disk.records.switched_to is None
    other = disk.system.with_name(f"{'b' * 32}-nixos-system-alice")
    other.mkdir()
    profile.symlink_to(other)
    assert disk.records.switched_to is None
    profile.unlink()
    profile.symlink_to(disk.system)
    assert disk.records.switched_to is not None
    disk.system.rmdir()
    assert disk.records.switched_to is None, "the garbage collector took it"


def test_one_of_another_hive_is_not_ours_even_with_records(disk: Disk) -> None:
    disk.record()
    disk.switch()
    disk.write("somebody-else")
    assert (disk.records.exists, disk.records.ours) == (True, False)


def test_one_without_a_marker_is_ours_only_where_root_was_asked_to_make_it(disk: Disk) -> None:
    (disk.where.etc / "alice.conf").write_text("PRIVATE_NETWORK=1\n")
    assert not disk.records.ours
    disk.record()
    assert not disk.records.ours
    (disk.folder / "system.json").write_text(json.dumps({"id": "1" * 20, "path": str(disk.system)}))
    assert disk.records.ours
    assert disk.records.written is None


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_record_of_the_run_is_not_a_missing_one(disk: Disk, content: str) -> None:
    disk.record()
    disk.switch()
    (disk.folder / "run.json").write_text(content)
    assert disk.records.ours
    assert disk.records.run.get() is None
    text, _ = disk.records.damage or ("", "")
    assert str(disk.folder / "run.json") in text
    (disk.folder / "run.json").unlink()
    disk.records.run.get()
    assert disk.records.damage is None


def older(disk: Disk, name: str = "alice", flake: str = "{}/applied/alice#default") -> None:
    """Write the conf file that `nixos-container create --flake` made for an older hive."""
    text = f"PRIVATE_NETWORK=1\nAUTO_START=0\nFLAKE={flake.format(disk.folder.parent.parent)}\n"
    (disk.where.etc / f"{name}.conf").write_text(text)


def test_a_container_of_an_older_hive_is_ours_once_a_migration_adopted_it(disk: Disk) -> None:
    older(disk)
    assert not disk.records.ours
    adopt(disk.folder, SETTINGS, disk.where)
    assert disk.records.ours
    assert disk.records.is_of_older
    written = disk.records.settings.get()
    assert written is not None
    assert written.settings == SETTINGS


@pytest.mark.parametrize(
    "flake",
    ["/elsewhere/applied/alice#default", "{}/applied/bob#default", "{}/applied/alice/older", "github:x/y#alice"],
)
def test_a_container_with_another_flake_stays_a_stranger_even_with_a_record(disk: Disk, flake: str) -> None:
    older(disk, flake=flake)
    adopt(disk.folder, SETTINGS, disk.where)
    assert not disk.records.ours


def test_older_containers_are_found_by_their_flake_and_adopted_by_their_name(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    state = disk.folder.parent.parent
    older(disk)
    older(disk, "h-bob", "{}/applied/bob")
    older(disk, "web", "github:x/y#web")
    assert older_containers(state, disk.where) == (frozenset({ALICE, "bob"}), frozenset({ALICE}))
    assert "h-bob runs bob by its older flake" in caplog.text
