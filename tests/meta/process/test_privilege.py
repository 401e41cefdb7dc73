"""What root is worth in a user namespace, and in a container without capabilities."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meta.process.privilege import privilege

HOST = "         0          0 4294967295\n"
FULL, NO_ADMIN = "CapEff:\t000001ffffffffff\n", "CapEff:\t00000000a80425fb\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/proc/self of the host's root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "uid_map").write_text(HOST)
    (tmp_path / "status").write_text(FULL)
    return tmp_path


def test_the_hosts_root_hands_out_uids(proc: Path) -> None:
    mine = privilege(proc=proc)
    assert mine.hands_out_uids
    assert mine.host_root


def test_an_ordinary_user_hands_out_none(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    mine = privilege(proc=proc)
    assert not mine.hands_out_uids
    assert not mine.host_root
    assert mine.why == ""


@pytest.mark.parametrize(
    ("uid_map", "why"),
    [
        ("0 1000 1\n", "this user namespace has one uid, and not 524288"),
        ("0 1000 1\n1 100000 65536\n", "this user namespace has 65537 uids, and not 524288"),
    ],
)
def test_root_of_a_user_namespace_without_the_agents_uids_hands_out_none(proc: Path, uid_map: str, why: str) -> None:
    (proc / "uid_map").write_text(uid_map)
    mine = privilege(proc=proc)
    assert not mine.hands_out_uids
    assert not mine.host_root
    assert mine.why == why


def test_root_of_a_large_user_namespace_hands_out_uids(proc: Path) -> None:
    (proc / "uid_map").write_text("0 1000000 1000000000\n")
    assert privilege(proc=proc).hands_out_uids


def test_root_without_the_right_to_mount_hands_out_none_and_is_still_the_hosts(proc: Path) -> None:
    (proc / "status").write_text(NO_ADMIN)
    mine = privilege(proc=proc)
    assert not mine.hands_out_uids
    assert mine.host_root
    assert mine.why == "uid 0 is without CAP_SYS_ADMIN here"


def test_without_proc_root_counts_as_the_hosts(proc: Path) -> None:
    (proc / "status").unlink()
    (proc / "uid_map").unlink()
    assert privilege(proc=proc).host_root
