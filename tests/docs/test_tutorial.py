"""The tutorial, typed line by line: every command works, and shows what the page says that one sees."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.docs.typing_in import blocks, steps, type_in
from tests.support.lab import Lab
from tests.support.site import dashboard_settings

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-hive.md"
NOBODY = 65_534


@pytest.mark.bwrap
@pytest.mark.timeout(120)
@pytest.mark.lab(
    tiny=False, settings={"HIVE_HEALTH_DEADLINE": "10", "HIVE_HEALTH_STABLE": "0.05", **dashboard_settings()}
)
def test_every_step_shows_what_the_page_says(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (rules,) = blocks(PAGE, "toml")
    (tmp_path / "rules").write_text(rules, encoding="utf-8")
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncat {tmp_path}/rules >> "$1"\n', encoding="ascii")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for step in steps(PAGE):
        type_in(lab, step)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_the_owner_of_a_hive_removes_it_with_the_command_of_the_page() -> None:
    (command,) = [line.strip() for line in PAGE.read_text("utf-8").splitlines() if "rm -rf .hive" in line]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        build = Path(name, ".hive", "generations", "alice", "1")
        build.mkdir(parents=True)
        (build / "agent.toml").touch(mode=0o444)
        closed = Path(name, ".hive", "agents", "alice", "state")
        closed.mkdir(parents=True)
        for path in (build, closed):
            path.chmod(0o555 if path is build else 0)
        for path in (Path(name), *Path(name).rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        ask = {"cwd": name, "user": NOBODY, "group": NOBODY, "extra_groups": (), "capture_output": True}
        assert subprocess.run(["rm", "-rf", ".hive"], check=False, **ask).returncode != 0  # type: ignore[call-overload]
        assert subprocess.run(["sh", "-c", command], check=False, **ask).returncode == 0  # type: ignore[call-overload]
        assert list(Path(name).iterdir()) == []
