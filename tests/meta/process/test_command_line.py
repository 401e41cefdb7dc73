"""Finding the program of an argument list."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.errors import PermanentError
from meta.process.command_line import resolve


def test_a_program_that_is_on_no_path_is_not_installed() -> None:
    with pytest.raises(PermanentError, match="the program gitt is not installed") as raised:
        resolve(("gitt", "status"), "/usr/bin:/bin")
    assert raised.value.hint == "install gitt, or put it on PATH"


def test_a_file_that_may_not_be_executed_is_named_with_what_helps(tmp_path: Path) -> None:
    file = tmp_path / "cli"
    file.write_text("#!/bin/sh\n", encoding="ascii")
    file.chmod(0o644)
    with pytest.raises(PermanentError, match="cli is not executable") as raised:
        resolve((str(file),), "")
    assert raised.value.hint == "make it executable, or name another program"
