"""What is written down about the filter is what the table says."""

from __future__ import annotations

import errno

from meta.process.seccomp.reference import PAGE, page
from meta.process.seccomp.table import CALLS
from meta.process.seccomp.unit import in_unit, settings


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m meta.process.seccomp.reference`"


def test_every_row_has_one_number_per_machine_and_a_known_error() -> None:
    assert len({call.name for call in CALLS}) == len(CALLS)
    assert {call.error for call in CALLS} == {errno.EPERM, errno.ENOSYS}
    assert all(call.reason and call.x86_64 is not None for call in CALLS)


def test_a_unit_refuses_every_call_that_systemd_can_name() -> None:
    listed = settings()["SystemCallFilter"].removeprefix("~").split()
    assert listed == [f"{call.name}:{errno.errorcode[call.error]}" for call in CALLS if call.when is None]
    assert {call.name for call in CALLS if not in_unit(call)} == {"ptrace", "ioctl", "fcntl"}
