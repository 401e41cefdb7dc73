"""hive-egress as the units and the helper of the module make it, on a real systemd host."""

from __future__ import annotations

import pytest

from tests.systemd import nixstory, reachstory, waystory
from tests.systemd.test_matrix import nix_host, told

pytestmark = [pytest.mark.systemd, pytest.mark.nix, pytest.mark.timeout(120)]


def test_hive_egress_runs_apart_from_hive_with_its_keys_and_comes_back_alone() -> None:
    with nix_host({}, waystory.NETWORK) as made:
        said = told(made, "tests.systemd.waystory", seconds=60)
    assert "hive-egress is as its module says" in said


@pytest.mark.full  # a host with nix, and three starts of containers
@pytest.mark.timeout(240)
def test_a_container_reaches_its_host_and_no_other_and_either_unit_restarts_alone() -> None:
    with nix_host({**nixstory.SETTINGS, "health_deadline": 60}, reachstory.NETWORK) as made:
        said = told(made, "tests.systemd.reachstory", seconds=200)
    assert "shows what was refused" in said
