"""The instructions in the folder of work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.prompts.instructions import FILES, instructions_problem


@pytest.mark.parametrize("runtime", FILES)
def test_instructions_that_the_model_gets_as_they_are_are_no_problem(tmp_path: Path, runtime: str) -> None:
    name, limit = FILES[runtime]
    assert not instructions_problem(tmp_path, runtime)
    (tmp_path / name).write_bytes(b"x" * limit)
    assert not instructions_problem(tmp_path, runtime)
    (tmp_path / name).write_bytes(b"x" * (limit + 1))
    assert f"{limit + 1} bytes" in instructions_problem(tmp_path, runtime)


def test_what_an_agent_puts_in_their_place_is_named_and_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "CLAUDE.md"
    file.write_bytes(b"ab\xff")
    assert "not UTF-8 at byte 2" in instructions_problem(tmp_path, "claude")
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert "cannot be read" in instructions_problem(tmp_path, "claude")
    file.unlink()
    os.mkfifo(file)
    assert "is no file" in instructions_problem(tmp_path, "claude")
    assert not instructions_problem(tmp_path, "script")
