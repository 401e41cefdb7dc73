"""The decisions of the allocation table, one by one. Any sequence of them: test_properties.py."""

from __future__ import annotations

import pytest

from harness.subagents.leases import table as leases
from harness.subagents.leases.table import Allocation, State, Table, WriteConflict, effective_scope
from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.process.identity import ProcessIdentity
from meta.scope.rules import READ, WRITE, NotSubset, Rule, Scope

W = Rule("/w", WRITE)
SCOPE = Scope((W,))


def owner(pid: int) -> ProcessIdentity:
    return ProcessIdentity(pid, pid * 10, "boot")


def everyone(_: ProcessIdentity) -> bool:
    return True


def only(*pids: int) -> leases.Alive:
    return lambda which: which.pid in pids


def top(scope: Scope = SCOPE, pod: str = "alice", pid: int = 1, table: Table | None = None) -> Table:
    return leases.register(table or Table(), pod, owner(pid), f"/run/{pod}", scope, everyone)


def child(table: Table, pod: str, target: str, spawner: str = "alice", pid: int | None = None) -> Table:
    """Return the table with a child that holds the right to write below a target."""
    table = leases.reserve(table, pod, spawner, f"/run/{pod}", [Rule(target, WRITE)])
    return leases.hold(leases.adopt(table, pod, owner(pid or 100 + len(table.allocations))), pod)


def may_write(table: Table, pod: str, path: str) -> bool:
    return effective_scope(table, pod).permission(path) is WRITE


class TestDelegate:
    def test_a_lease_is_reserved_then_adopted_then_held_and_only_then_the_spawner_has_lost_it(self) -> None:
        table = leases.reserve(top(), "kid", "alice", "/run/kid", [Rule("/w/a", WRITE)])
        reserved = table.get("kid")
        assert (reserved.owner, reserved.state, reserved.adopted) == (owner(1), State.RESERVED, False)
        assert may_write(table, "alice", "/w/a") and not may_write(table, "kid", "/w/a")
        table = leases.adopt(table, "kid", owner(2))
        assert table.get("kid").owner == owner(2)
        assert may_write(table, "alice", "/w/a") and not may_write(table, "kid", "/w/a")
        assert effective_scope(table, "kid").permission("/w/a") is READ
        table = leases.hold(table, "kid")
        assert may_write(table, "kid", "/w/a/x") and not may_write(table, "alice", "/w/a/x")
        assert effective_scope(table, "alice").permission("/w/a/x") is READ
        assert may_write(table, "alice", "/w/b")

    def test_a_child_waits_for_its_scope_once_its_process_is_there(self) -> None:
        table = leases.reserve(child(top(), "kid", "/w/a"), "next", "alice", "/run/next", [Rule("/w/b", WRITE)])
        assert leases.waiting(table, "alice") == ()
        table = leases.adopt(table, "next", owner(9))
        assert [each.pod for each in leases.waiting(table, "alice")] == ["next"]
        assert leases.waiting(leases.hold(table, "next"), "alice") == ()

    def test_adopting_and_holding_twice_changes_nothing(self) -> None:
        table = child(top(), "kid", "/w/a", pid=2)
        assert leases.hold(leases.adopt(table, "kid", owner(2)), "kid") == table

    def test_a_second_process_cannot_adopt_what_is_adopted(self) -> None:
        with pytest.raises(Conflict, match="another process is the pod kid"):
            leases.adopt(child(top(), "kid", "/w/a", pid=2), "kid", owner(3))

    def test_adopting_a_reservation_that_is_gone_is_refused(self) -> None:
        with pytest.raises(NotFound, match="has no scope"):
            leases.adopt(top(), "kid", owner(2))

    def test_a_name_that_exists_is_refused(self) -> None:
        table = child(top(), "kid", "/w/a")
        for name in ("kid", "alice"):
            with pytest.raises(Conflict, match=f"with the name {name} exists"):
                leases.reserve(table, name, "alice", "/run/x", [Rule("/w/b", WRITE)])

    @pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "..", "a b", "a\n", "ä", "a" * 33, "a\0"])
    def test_a_name_that_could_mislead_is_refused(self, name: str) -> None:
        with pytest.raises(BadInput, match="not a name of a pod"):
            leases.reserve(top(), name, "alice", "/run/x", [Rule("/w/b", WRITE)])

    @pytest.mark.parametrize("socket", ["", "relative", "/" + "s" * 107, "/a\0b"])
    def test_a_socket_that_cannot_be_bound_is_refused(self, socket: str) -> None:
        with pytest.raises(BadInput, match="not a path of a socket"):
            leases.reserve(top(), "kid", "alice", socket, [Rule("/w/b", WRITE)])

    def test_more_than_the_spawner_has_is_refused(self) -> None:
        with pytest.raises(NotSubset):
            leases.reserve(top(), "kid", "alice", "/run/kid", [Rule("/etc", READ)])
        with pytest.raises(BadInput, match="gives nothing"):
            leases.reserve(top(), "kid", "alice", "/run/kid", [])

    def test_denies_of_the_spawner_go_with_what_it_delegates(self) -> None:
        table = child(top(Scope((W,), (Rule("/w/a/keys", READ),))), "kid", "/w/a")
        table = child(table, "grandkid", "/w/a", spawner="kid")
        assert effective_scope(table, "grandkid").permission("/w/a/keys/x") is None

    @pytest.mark.parametrize("held", [True, False])
    def test_what_another_child_has_or_waits_for_is_refused_by_the_name_of_the_deepest(self, held: bool) -> None:
        table = child(top(), "kid", "/w/a")
        table = leases.reserve(table, "deep", "kid", "/run/deep", [Rule("/w/a/b", WRITE)])
        table = leases.hold(leases.adopt(table, "deep", owner(9)), "deep") if held else table
        with pytest.raises(WriteConflict, match="the pod deep writes") as caught:
            leases.reserve(table, "other", "alice", "/run/other", [Rule("/w/a/b/c", WRITE)])
        assert caught.value.owner == "deep"
        with pytest.raises(WriteConflict, match="the pod kid writes"):
            leases.reserve(table, "other", "alice", "/run/other", [Rule("/w/a/z", WRITE)])

    def test_reading_needs_only_to_be_covered(self) -> None:
        table = child(top(), "kid", "/w/a")
        table = leases.reserve(table, "reader", "alice", "/run/r", [Rule("/w", READ)])
        assert effective_scope(table, "reader").permission("/w/a/x") is READ

    def test_a_child_that_does_not_hold_its_scope_cannot_delegate_it(self) -> None:
        table = leases.reserve(top(), "kid", "alice", "/run/kid", [Rule("/w/a", WRITE)])
        for now in (table, leases.adopt(table, "kid", owner(2)), leases.hold(table, "kid")):
            with pytest.raises(Conflict, match="does not hold its scope yet"):
                leases.reserve(now, "deep", "kid", "/run/deep", [Rule("/w/a/b", WRITE)])

    def test_a_table_has_a_bound(self) -> None:
        table = Table(tuple(Allocation(f"p{n}", owner(n), "/s", Scope((Rule(f"/{n}", WRITE),))) for n in range(99)))
        with pytest.raises(Refused, match="there are 100 pods"):
            top(Scope((Rule("/y", WRITE),)), "b", table=top(table=table))

    def test_a_delegated_scope_has_a_bound_with_what_it_inherits(self) -> None:
        denies = tuple(Rule(f"/w/{number}", READ) for number in range(leases.RULES_LIMIT))
        with pytest.raises(Refused, match="501 rules"):
            leases.reserve(top(Scope((W,), denies)), "kid", "alice", "/run/kid", [W])


class TestRegister:
    def test_a_pod_that_lives_keeps_its_name_and_its_scope(self) -> None:
        with pytest.raises(Conflict, match="with the name alice exists"):
            top(Scope((Rule("/other", WRITE),)), pid=2, table=top())
        with pytest.raises(WriteConflict, match="the pod alice writes '/w/x'"):
            top(Scope((Rule("/w/x", WRITE),)), "bob", table=top())

    def test_a_conflict_names_the_deepest_pod_that_writes_there(self) -> None:
        table = child(child(top(), "kid", "/w/a"), "grandkid", "/w/a/b", spawner="kid")
        with pytest.raises(WriteConflict, match="the pod grandkid writes"):
            top(Scope((Rule("/", WRITE),)), "bob", table=table)

    def test_reading_what_another_pod_writes_is_no_conflict(self) -> None:
        assert may_write(top(Scope((Rule("/w", READ), Rule("/v", WRITE))), "bob", 2, top()), "bob", "/v")

    def test_a_pod_that_registers_again_keeps_its_living_children_and_loses_what_it_was_starting(self) -> None:
        table = child(top(), "kid", "/w/a", pid=3)
        table = leases.reserve(table, "unborn", "alice", "/run/u", [Rule("/w/b", WRITE)])
        for pid in (1, 2):  # the same process after an exec, or a new one in place of a dead one
            now = leases.register(table, "alice", owner(pid), "/run/alice2", SCOPE, only(pid, 3))
            assert [(each.pod, each.parent) for each in now.allocations] == [("alice", None), ("kid", "alice")]
            assert not may_write(now, "alice", "/w/a")

    def test_a_pod_that_was_reclaimed_in_between_gets_its_living_children_back(self) -> None:
        table = child(child(top(), "kid", "/w/a", pid=2), "deep", "/w/a/b", spawner="kid", pid=3)
        table, dead = leases.reclaim(table, only(3))
        assert (dead, table.get("deep").parent) == (("alice", "kid"), None)
        table = leases.register(table, "alice", owner(4), "/run/alice", SCOPE, only(3, 4))
        assert table.get("deep").parent == "alice"
        assert may_write(table, "deep", "/w/a/b/x") and not may_write(table, "alice", "/w/a/b/x")

    def test_a_new_scope_without_what_a_living_child_has_is_refused(self) -> None:
        with pytest.raises(Conflict, match="kid lives and has more") as caught:
            leases.register(child(top(), "kid", "/w/a"), "alice", owner(1), "/s", Scope((Rule("/v", WRITE),)), everyone)
        assert caught.value.hint == "stop kid"


class TestGiveBack:
    def test_a_released_scope_flows_up_to_the_pod_above_and_a_second_release_is_harmless(self) -> None:
        table = child(child(top(), "kid", "/w/a"), "deep", "/w/a/b", spawner="kid")
        once = leases.release(table, "kid")
        assert once.get("deep").parent == "alice"
        assert may_write(once, "alice", "/w/a/x") and not may_write(once, "alice", "/w/a/b/x")
        assert leases.release(once, "kid") == once
        assert may_write(leases.release(once, "deep"), "alice", "/w/a/b/x")

    def test_what_a_released_pod_was_still_starting_is_dropped(self) -> None:
        table = leases.reserve(child(top(), "kid", "/w/a"), "unborn", "kid", "/run/u", [Rule("/w/a/b", WRITE)])
        assert [each.pod for each in leases.release(table, "kid").allocations] == ["alice"]

    def test_reclaiming_takes_back_what_the_dead_had_reservations_of_a_dead_spawner_too(self) -> None:
        table = child(top(), "kid", "/w/a", pid=2)
        table = leases.reserve(table, "unborn", "kid", "/run/u", [Rule("/w/a/b", WRITE)])
        now, dead = leases.reclaim(table, only(1))
        assert set(dead) == {"kid", "unborn"}
        assert [each.pod for each in now.allocations] == ["alice"] and may_write(now, "alice", "/w/a/b")
        assert leases.reclaim(now, only(1)) == (now, ())

    def test_a_child_that_waits_for_its_scope_goes_on_waiting_under_the_pod_above(self) -> None:
        table = child(top(), "kid", "/w/a", pid=2)
        table = leases.reserve(table, "deep", "kid", "/run/deep", [Rule("/w/a/b", WRITE)])
        table, _ = leases.reclaim(leases.adopt(table, "deep", owner(3)), only(1, 3))
        assert [each.pod for each in leases.waiting(table, "alice")] == ["deep"]
        assert may_write(table, "alice", "/w/a/b") and not may_write(table, "deep", "/w/a/b")
        assert may_write(leases.hold(table, "deep"), "deep", "/w/a/b")

    def test_a_living_child_of_a_dead_top_keeps_its_scope(self) -> None:
        now, _ = leases.reclaim(child(top(), "kid", "/w/a", pid=2), only(2))
        assert may_write(now, "kid", "/w/a") and now.get("kid").origin == "alice"


@pytest.mark.parametrize("parents", [{"a": "b"}, {"a": "b", "b": "a"}, {"a": "a"}])
def test_a_table_without_a_way_to_the_top_is_refused(parents: dict[str, str]) -> None:
    rows = tuple(Allocation(pod, owner(1), "/s", SCOPE, above) for pod, above in parents.items())
    with pytest.raises(BadInput, match="no way up"):
        Table(rows)


def test_a_table_with_a_name_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="one name"):
        Table((Allocation("a", owner(1), "/s", SCOPE),) * 2)
