"""One minute of the soak, in `make test-full`. `make soak` runs it for ten."""

from __future__ import annotations

import secrets

import pytest

from tests.soak.__main__ import report
from tests.soak.run import soak

pytestmark = [pytest.mark.bwrap, pytest.mark.full]


@pytest.mark.timeout(400)
def test_a_minute_of_kills_full_disks_hostility_and_honest_traffic_leaves_no_fault() -> None:
    outcome = soak(60, secrets.randbelow(10**6))
    assert not outcome.faults, f"seed {outcome.seed}\n{report(outcome)}"
    for happened in ("messages accepted", "answers", "decisions", "junk_branch", "flood_of_sends"):
        assert outcome.counts[happened], f"seed {outcome.seed}: no {happened}"
