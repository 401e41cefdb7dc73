"""No agent gets uids that the host's users or another engine hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.desired.held_uids import end_of_overlap, held
from meta.desired.uids import uid_for
from meta.desired.view import MetaView
from meta.errors import Refused
from meta.layout import Layout
from meta.model import Desired
from meta.names import AgentName, Sha
from reconciler.privileged.values import UIDS, Bounds
from tests.nix.evaluate import ROOT

ALICE = AgentName("alice")
START = 524_288
SHA = Sha("1" * 40)
NIXOS = 1_879_048_192
OTHERS = {
    "useradd (SUB_UID_MIN to SUB_UID_MAX of login.defs)": range(100_000, 600_100_001),
    "users of systemd-homed and dynamic users": range(60_001, 65_520),
    "systemd-nspawn's pick": range(524_288, 1_879_048_192),
    "LXD and Incus": range(1_000_000, 1_001_000_000),
    "systemd's foreign uids": range(2_147_352_576, 2_147_418_112),
    "podman's --userns=auto": range(2_147_483_647, 2**32 - 1),
}
"""What other programs take by their own defaults."""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "passwd").write_text("root:x:0:0::/root:/bin/sh\nldap:x:600000:1000::/:/bin/sh\nbroken\n")
    (folder / "group").write_text("root:x:0:\nteam:x:720900:ada\n")
    (folder / "subuid").write_text(f"ada:{START}:65536\nbob:x:1\n\n")
    (folder / "subgid").write_text("root:1000000:1000000000\n")
    return folder


def given(layout: Layout, etc: Path, start: int = START) -> int:
    return uid_for(MetaView(Desired(SHA, {}, {}), {}, frozenset(), {}), ALICE, start, layout, etc)


def test_the_tables_of_users_groups_and_ranges_are_read_and_odd_lines_hold_nothing(etc: Path) -> None:
    assert set(held(etc)) == {
        *(range(1), range(600_000, 600_001), range(720_900, 720_901)),
        *(range(START, START + 65_536), range(1_000_000, 1_001_000_000)),
    }
    assert held(etc / "missing") == ()


def test_a_new_agent_gets_the_first_range_in_which_the_host_holds_no_uid(tmp_path: Path, etc: Path) -> None:
    layout = Layout(tmp_path / "state", tmp_path / "run")
    # ada, the user of 600000 (in 589824 to 655359), a free one
    assert given(layout, etc) == 655_360
    (etc / "subuid").write_text("ada:655360:1\n")
    assert given(layout, etc) == 524_288
    (etc / "subuid").write_text("ada:524288:262144\n")
    assert given(layout, etc) == 786_432
    (etc / "subuid").write_text("ada:524288:475712\n")  # up to where root's begins
    assert given(layout, etc) == START + -(-(1_001_000_000 - START) // UIDS) * UIDS


def test_a_host_that_holds_everything_is_refused(tmp_path: Path, etc: Path) -> None:
    (etc / "subuid").write_text("podman:524288:4294443007\n")
    with pytest.raises(Refused, match="no free range"):
        given(Layout(tmp_path / "state", tmp_path / "run"), etc)


@pytest.mark.parametrize("who", OTHERS)
def test_agents_on_nixos_begin_where_no_other_program_does(who: str) -> None:
    assert end_of_overlap(NIXOS, 4000 * UIDS, (OTHERS[who],)) is None
    assert NIXOS % UIDS == 0
    assert Bounds().uid_last + 1 == OTHERS["systemd's foreign uids"].start


def test_the_module_sets_that_start_and_leaves_backend_local_where_it_was() -> None:
    text = (ROOT / "nix/modules/host/settings.nix").read_text(encoding="utf-8")
    assert f"uid_start = lib.mkDefault {NIXOS};" in text
    assert json.loads((ROOT / "nix/modules/host/settings.json").read_text())["uid_start"]["default"] == START
