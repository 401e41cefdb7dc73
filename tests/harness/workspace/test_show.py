"""What `hive-harness workspace` prints of a repo, with a real git."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from api.cli.commands.workspace import lines, parse
from harness.workspace import show
from meta.errors import BadInput


def git(folder: Path, *words: str) -> None:
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    env = {**os.environ, **dict.fromkeys(names, "x"), "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(("git", *words), cwd=folder, env=env, check=True)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of work with the clone `tools`: one commit that is not pushed, one change and one new file."""
    work = tmp_path / "work"
    work.mkdir()
    git(tmp_path, "init", "-qb", "main", "upstream")
    (tmp_path / "upstream/a").write_text("one\n", encoding="ascii")
    git(tmp_path / "upstream", "add", "a")
    git(tmp_path / "upstream", "commit", "-qm", "first")
    git(work, "clone", "-q", str(tmp_path / "upstream"), "tools")
    git(work / "tools", "commit", "-qm", "mine\x1b[31m", "--allow-empty")
    (work / "tools/a").write_text("two\n", encoding="ascii")
    (work / "tools/new").write_text("", encoding="ascii")
    monkeypatch.setenv("HIVE_STATE", str(tmp_path))
    monkeypatch.setenv("HIVE_CONFIG", str(tmp_path / "config"))
    return work


def printed(capsys: pytest.CaptureFixture[str], *paths: str, diff: bool = False) -> list[dict[str, Any]]:
    show.main(paths, diff=diff)
    return parse(capsys.readouterr().out.encode())


def test_branch_unpushed_commits_and_changes_are_shown(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = printed(capsys, "tools", diff=True)
    assert (row["branch"], row["upstream"], row["problem"]) == ("main", "origin/main", "")
    assert [line.split(" ", 1)[1] for line in row["unpushed"]["lines"]] == ["mine"]
    assert row["changes"]["lines"] == ["M a", "?? new"]
    assert "+two" in row["diff"]
    shown = list(lines(row))
    assert shown[0] == "tools: branch main"
    assert shown[1] == "  1 unpushed commits beside origin/main"


def test_the_repos_of_agent_toml_are_shown_and_one_that_is_not_there_says_so(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = work.parent / "config"
    config.mkdir()
    text = 'runtime = "claude"\n[[workspace]]\nurl = "https://a.b/tools"\n[[workspace]]\nurl = "https://a.b/other"\n'
    (config / "agent.toml").write_text(text, encoding="ascii")
    rows = printed(capsys)
    assert [(row["path"], row["problem"]) for row in rows] == [("tools", ""), ("other", "it is not there")]


def test_a_repo_above_is_no_workspace_and_a_path_stays_below(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(work, "init", "-q")
    (work / "plain").mkdir()
    (row,) = printed(capsys, "plain")
    assert "not a git repository" in row["problem"]
    with pytest.raises(BadInput, match="no part of a path"):
        printed(capsys, "../../etc")


def test_the_repos_own_programs_are_not_needed_for_what_is_shown(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("core.fsmonitor", "diff.external", "core.pager"):
        git(work / "tools", "config", key, f"touch {work}/ran; false")
    (row,) = printed(capsys, "tools", diff=True)
    assert row["problem"] == ""
    assert not (work / "ran").exists()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"workspaces": 5},
        {"workspaces": [5, None]},
        {"workspaces": [{"unpushed": 5, "diff": [], "path": {}}] * 1000},
    ],
)
def test_what_is_strange_is_read_without_an_error(document: dict[str, Any]) -> None:
    rows = parse(json.dumps(document).encode())
    assert len(rows) <= 64
    assert all(row["unpushed"] == {"lines": [], "more": False} and "diff" not in row for row in rows)


def test_the_container_s_words_are_scrubbed_and_bounded() -> None:
    strange = {"path": "a\x1b[2J\nb", "branch": "x" * 10_000, "diff": "\x1b[31m" + "d" * 9_000_000}
    strange["unpushed"] = {"lines": ["\x07" + "l" * 5_000] * 9_000, "more": True}  # type: ignore[assignment]
    (row,) = parse(json.dumps({"workspaces": [strange]}).encode())
    assert (row["path"], len(row["branch"]), len(row["unpushed"]["lines"])) == ("a b", 300, 200)
    assert "\x1b" not in json.dumps(row)
    assert len(row["diff"]) <= 600_000
