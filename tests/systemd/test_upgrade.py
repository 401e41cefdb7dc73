"""A switch of the host to another hive ends no turn and loses no message."""

from __future__ import annotations

import pytest

from tests.systemd import busy, nixstory
from tests.systemd.test_matrix import nix_host, told

pytestmark = [pytest.mark.systemd, pytest.mark.nix, pytest.mark.timeout(900)]


@pytest.mark.full
@pytest.mark.parametrize("count", [2, 10])
def test_a_switch_while_agents_work_kills_no_turn_loses_no_message_and_no_build(count: int) -> None:
    with nix_host({**nixstory.SETTINGS, **busy.SETTINGS}) as made:
        text = told(made, "tests.systemd.upgrade", str(count), seconds=860)
    assert "turns killed 0, messages lost 0" in text
