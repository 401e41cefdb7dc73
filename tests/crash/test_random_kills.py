"""Kills at random moments of a purge and of the spawn of the same name after it: the name is never wedged."""

from __future__ import annotations

import contextlib
import random
import threading

import pytest

from meta.errors import HiveError
from tests.crash import agreement
from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.full, pytest.mark.timeout(600)]

ROUNDS = 25
LONGEST = 0.6
"""Seconds within which the daemon is killed after the command was given."""


def test_a_kill_at_any_moment_of_a_purge_leaves_a_name_that_can_be_spawned_again(lab: Lab) -> None:
    chance = random.Random(10)
    for _ in range(ROUNDS):
        lab.spawn("dora")
        before = lab.agents()
        killer = threading.Timer(chance.uniform(0, LONGEST), lab.kill)
        killer.start()
        with contextlib.suppress(OSError, HiveError):
            lab.post("/api/agents/dora/destroy", purge=True)
        killer.join()
        lab.start()
        lab.settle()
        agreement.check(lab, before, "dora", stays=False)
        if "dora" in lab.agents():  # the command had not begun
            lab.do("dora", "destroy", purge=True)
        assert "dora" not in lab.agents()
        assert not lab.applied("dora").exists()


def test_a_kill_at_any_moment_of_a_spawn_leaves_an_agent_that_runs_or_can_be_spawned(lab: Lab) -> None:
    chance = random.Random(11)
    for _ in range(ROUNDS):
        killer = threading.Timer(chance.uniform(0, LONGEST), lab.kill)
        killer.start()
        with contextlib.suppress(OSError, HiveError):
            lab.post("/api/agents/dora/spawn")
        killer.join()
        lab.start()
        lab.settle()
        if "dora" not in lab.agents():
            lab.spawn("dora")
        assert lab.agent("dora")["phase"] == "running"
        lab.do("dora", "destroy", purge=True)
