"""The budget of bytes: each agent has its share, and the whole is not for one of them."""

from __future__ import annotations

from api.sockets.budget import FREE, Budget, Hold


def test_a_share_is_bounded_and_what_is_given_back_can_be_used_again() -> None:
    share = Budget(1000).share(100)
    first, second = share.hold(), share.hold()
    assert first.resize(FREE + 100)
    assert not second.resize(FREE + 1)
    assert first.resize(FREE + 50)
    assert second.resize(FREE + 50)
    assert first.resize(0)
    assert share.used == 50


def test_short_requests_always_fit() -> None:
    share = Budget(0).share(0)
    assert all(share.hold().resize(FREE) for _ in range(100))


def test_a_request_that_does_not_fit_makes_the_largest_agent_give_way() -> None:
    budget = Budget(100)
    dropped: list[int] = []
    greedy, modest = budget.share(100), budget.share(100)
    assert greedy.hold(lambda: dropped.append(30)).resize(FREE + 30)
    assert greedy.hold(lambda: dropped.append(60)).resize(FREE + 60)
    assert modest.hold().resize(FREE + 40)
    assert (dropped, greedy.used, budget.used) == ([60], 30, 70)


def test_who_uses_most_pushes_nobody_aside() -> None:
    budget = Budget(100)
    dropped: list[int] = []
    greedy, modest = budget.share(100), budget.share(100)
    assert modest.hold(lambda: dropped.append(1)).resize(FREE + 40)
    assert not greedy.hold().resize(FREE + 70)
    assert dropped == []


def test_what_is_whole_and_being_answered_is_not_dropped() -> None:
    budget = Budget(100)
    hold = budget.share(100).hold(lambda: None)
    assert hold.resize(FREE + 90)
    hold.drop = None
    assert not budget.share(100).hold().resize(FREE + 20)
    assert hold.counted == 90


def test_without_a_share_nothing_is_bounded() -> None:
    assert Hold(None).resize(2**40)
