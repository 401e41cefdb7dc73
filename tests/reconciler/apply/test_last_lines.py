"""What of a container's log goes into the tag of a failed deploy."""

from __future__ import annotations

from reconciler.apply.last_lines import told_last

STOPPING = "\n".join(f"systemd[1]: Stopped target number {number}." for number in range(40))
SAID = "[  1.2] hive-harness[59]: no hello on purpose"


def test_the_harness_is_heard_however_much_a_stopping_system_writes_after_it() -> None:
    assert told_last(f"systemd[1]: Started it.\n{SAID}\n{STOPPING}\n", 20) == SAID


def test_where_no_line_is_marked_the_last_ones_are_taken() -> None:
    assert told_last("a\nb\nc\n", 2) == "b\nc"
    assert told_last("", 2) == ""


def test_only_the_last_lines_of_the_harness_are_taken() -> None:
    assert told_last("\n".join(f"hive-harness[5]: {number}" for number in range(30)), 2).splitlines() == [
        "hive-harness[5]: 28",
        "hive-harness[5]: 29",
    ]
