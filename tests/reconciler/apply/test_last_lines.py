"""What of a container's log goes into the tag of a failed deploy."""

from __future__ import annotations

from reconciler.apply.last_lines import last_lines

STOPPING = "\n".join(f"systemd[1]: Stopped target number {number}." for number in range(40))
HARNESS_LINE = "[  1.2] hive-harness[59]: no hello on purpose"


def test_the_harness_lines_are_kept_although_a_stopping_system_writes_many_more() -> None:
    assert last_lines(f"systemd[1]: Started it.\n{HARNESS_LINE}\n{STOPPING}\n", 20) == HARNESS_LINE


def test_the_last_lines_are_kept_if_none_is_marked() -> None:
    assert last_lines("a\nb\nc\n", 2) == "b\nc"
    assert last_lines("", 2) == ""


def test_only_the_last_lines_of_the_harness_are_kept() -> None:
    assert last_lines("\n".join(f"hive-harness[5]: {number}" for number in range(30)), 2).splitlines() == [
        "hive-harness[5]: 28",
        "hive-harness[5]: 29",
    ]
