"""An empty path comes from an unset variable of the shell: an error, and never the default."""

from __future__ import annotations

import pytest

from api.cli.client.exit_codes import Code
from api.cli.main import execute

LINES = (
    ["--state", "", "status"],
    ["status", "--state", ""],
    ["status", "--runtime="],
    ["serve", "--state", ""],
    ["propose", "alice", "--from", ""],
    ["edit", "alice", "--file", ""],
    ["man", "--write", ""],
    ["backup", ""],
    ["restore", ""],
    ["audit", "verify", "--since", ""],
    ["remind", "alice", "text", "--in", "1h", "--file", ""],
)


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_an_empty_path_is_an_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words) == Code.USAGE
    assert "it is empty; is a variable of the shell unset?" in capsys.readouterr().err
