"""A failed call on the disk becomes one of hive's errors."""

from __future__ import annotations

from meta.errors import PermanentError
from meta.process.disk import disk_error


def test_a_missing_permission_is_permanent() -> None:
    assert isinstance(disk_error("cannot x", PermissionError(13, "Permission denied")), PermanentError)
