"""Harness and coding agent under two uids, in a container of backend `nixos` whose system nix built."""

from __future__ import annotations

import pytest

from tests.systemd import nixstory
from tests.systemd.test_matrix import nix_host, told

pytestmark = [pytest.mark.systemd, pytest.mark.nix]


@pytest.mark.full  # a host with nix, and four starts of containers; every run has test_escape_uids.py
@pytest.mark.timeout(240)
def test_the_cli_reaches_no_socket_and_nothing_of_the_harness_and_leaves_nothing_behind() -> None:
    with nix_host(nixstory.SETTINGS) as made:
        said = told(made, "tests.systemd.uidstory", seconds=200)
    assert "a script has one uid again" in said
