"""What an agent may bring about in the sequence of events, so that none of them empties it."""

from __future__ import annotations

import pytest

from meta.errors import TransientError
from reconciler.common.token_bucket import EVENTS_AT_ONCE, EVENTS_PER_MINUTE, Allowance, Bucket
from reconciler.store.events import log


def test_an_agent_that_spends_too_fast_is_told_when_it_may_again_and_no_other_is() -> None:
    now = 1_000.0
    allowance = Allowance(lambda: now)
    for _ in range(EVENTS_AT_ONCE // 2):
        allowance.spend("alice", 2)
    with pytest.raises(TransientError, match="alice makes events too fast") as caught:
        allowance.spend("alice", 2)
    assert caught.value.retry_after == pytest.approx(2 * 60 / EVENTS_PER_MINUTE)
    assert "20 s" in caught.value.hint
    allowance.spend("bob", 2)
    for _ in range(10_000):
        allowance.spend("operator", 2)
    now += 2 * 60 / EVENTS_PER_MINUTE
    allowance.spend("alice", 2)
    assert (allowance.left("alice"), allowance.left("bob")) == (0, EVENTS_AT_ONCE)  # a bucket is never over its top


def test_what_happens_anyhow_is_noted_and_never_refused() -> None:
    allowance = Allowance(lambda: 0.0)
    allowance.note("alice", EVENTS_AT_ONCE - 1)
    assert allowance.left("alice") == 1
    allowance.note("alice", 5)
    assert allowance.left("alice") == 0


def test_one_agent_needs_weeks_to_push_everything_out_of_the_sequence() -> None:
    days = (log.KEEP - EVENTS_AT_ONCE) / (EVENTS_PER_MINUTE * 60 * 24)
    assert days > 28


def test_a_bucket_gives_so_many_a_minute_and_then_waits() -> None:
    bucket, wait = Bucket(2.0, 0.0), 0.0
    for _ in range(2):
        bucket, wait = bucket.take(0.0, 2)
        assert wait == 0.0
    bucket, wait = bucket.take(0.0, 2)
    assert wait == pytest.approx(30.0)
    _, wait = bucket.take(29.0, 2)
    assert wait == pytest.approx(1.0)
    _, wait = bucket.take(30.0, 2)
    assert wait == 0.0
    _, wait = bucket.take(-1000.0, 2)  # the clock was set back
    assert wait == pytest.approx(30.0)
