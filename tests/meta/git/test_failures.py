"""What git complains about becomes one of hive's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import Conflict, DiskFull, HiveError, NotFound, PermanentError, TransientError
from meta.git.failures import failure


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("fatal: Unable to create '/x/refs/heads/main.lock': File exists.", TransientError),
        ("error: unable to write file: No space left on device", DiskFull),
        ('Timeout: the command "git log" did not complete in 1 secs.', TransientError),
        ("fatal: prepare: cannot lock ref 'refs/x/y': reference already exists", Conflict),
        ("fatal: bad object 1234", NotFound),
        ("fatal: the moon is full", PermanentError),
        ("", PermanentError),
    ],
)
def test_what_git_complains_about_becomes_one_of_hives_errors(stderr: str, kind: type[HiveError]) -> None:
    error = failure(Path("/x"), ["log"], stderr)
    assert type(error) is kind
    assert error.summary and error.hint
