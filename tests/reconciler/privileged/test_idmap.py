"""On which file systems the store is mounted with its owners: others would keep every container from starting."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from meta.names import AgentName
from reconciler.privileged.conf import Conf, Places, render
from reconciler.privileged.idmap import of_host, supported
from reconciler.privileged.values import Settings

MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - {root} /dev/vda rw
22 21 0:5 / /proc rw - proc proc rw
23 21 8:1 /nix/store /nix/store ro,nosuid shared:2 master:1 - {store} /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("root", "store", "kernel", "able"),
    [
        ("tmpfs", "ext4", "6.12.41", True),
        ("ext4", "overlay", "6.18.0", False),
        ("ext4", "zfs", "6.12.41", False),
        ("ext4", "9p", "6.12.41", False),
        ("overlay", "btrfs", "5.15.1-hardened", True),
        ("overlay", "btrfs", "5.14.21", False),
        ("overlay", "tmpfs", "6.1.0-40-amd64", False),
        ("ext4", "ext4", "of my own", False),
    ],
)
def test_the_type_of_the_stores_own_mount_and_the_kernel_decide(root: str, store: str, kernel: str, able: bool) -> None:
    assert supported("/nix/store", MOUNTS.format(root=root, store=store), kernel) is able


def test_of_two_mounts_at_one_place_the_later_one_counts_and_a_longer_name_is_no_part_of_it() -> None:
    twice = MOUNTS.format(root="ext4", store="ext4") + "24 23 0:9 / /nix/store ro - overlay none rw\n"
    assert not supported("/nix/store", twice, "6.12.0")
    other = MOUNTS.format(root="overlay", store="ext4").replace("/nix/store ro", "/nix/storefront ro")
    assert not supported("/nix/store", other, "6.12.0")


@pytest.mark.parametrize("text", ["", "garbage\n\n- \n", "1 2 3 4 - ext4\n"])
def test_mounts_that_cannot_be_read_count_as_not_able(text: str) -> None:
    assert not supported("/nix/store", text, "6.12.0")


@pytest.mark.parametrize("path", ["/", "/proc", "/dev", str(Path(__file__).parent)])
def test_the_answer_for_this_host_is_that_for_the_file_system_that_findmnt_names(path: str) -> None:
    argv = ["findmnt", "--noheadings", "--first-only", "--output", "FSTYPE", "--target", path]
    kind = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    alone = f"1 0 0:1 / / rw - {kind} device rw\n"
    assert of_host(path) is supported("/nix/store", alone, os.uname().release)


@pytest.mark.parametrize("store", [None, "/nix/store"])
def test_the_conf_maps_the_store_only_where_that_works_and_covers_what_the_host_alone_may_write(
    store: str | None,
) -> None:
    places = Places("/var/lib/hive", "/run/hyperhive", store)
    text = render(AgentName("alice"), Conf("h1", Settings("agent", 589_824), None), places)
    assert text.count(":idmap") == (0 if store is None else 1)
    assert ("--bind-ro=/nix/store:/nix/store:idmap" in text) is (store is not None)
    for folder in ("profiles", "gcroots"):
        assert f" --tmpfs=/nix/var/nix/{folder}:mode=0755,size=4M,nosuid,nodev" in text
