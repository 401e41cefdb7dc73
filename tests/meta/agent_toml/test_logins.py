"""Where logins are: one table for who looks at them, who leaves them out, and who reads about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.agent_toml.clis import CLIS
from meta.agent_toml.logins import LOGIN_FILES, LOGINS, is_login_file
from meta.agent_toml.runtimes import RUNTIMES

DOCS = Path(__file__).parents[3] / "docs"


def test_each_runtime_has_a_row() -> None:
    assert LOGINS.keys() == RUNTIMES


def test_the_program_that_logs_in_is_the_cli_or_the_one_that_is_looked_for_beside_it() -> None:
    assert {name: cli.login or cli.program for name, cli in CLIS.items()} == {
        name: place.program for name, place in LOGINS.items() if place.program
    }


@pytest.mark.parametrize("file", sorted(LOGIN_FILES))
def test_a_login_and_what_is_written_beside_it_at_first_is_recognised(file: str) -> None:
    folder, _, name = file.rpartition("/")
    before = f"{folder}/" if folder else ""
    for beside in (name, f"{name}.tmp", f"{name}~", f".{name}.a1b2", f"{name}-123", f"{name}.backup.1700000000"):
        assert is_login_file(before + beside)
    assert not is_login_file(f"elsewhere/{file}")


@pytest.mark.parametrize(
    "path", [".claude/settings.json", ".codex/config.toml", ".claude", "work/.env", "auth.json", ""]
)
def test_another_file_is_no_login(path: str) -> None:
    assert not is_login_file(path)


@pytest.mark.parametrize("runtime", [name for name, place in LOGINS.items() if place.file])
def test_the_pages_name_the_files_of_each_runtime(runtime: str) -> None:
    rows = [line for line in (DOCS / "howto/login.md").read_text().splitlines() if line.startswith("| `")]
    (row,) = [line for line in rows if f"`{runtime}`" in line.split("|")[1]]
    cells = next(
        line for line in (DOCS / "reference/runtimes.md").read_text().splitlines() if "login, a file of" in line
    )
    for file in LOGINS[runtime].files:  # type: ignore[index]
        assert f"`{file}`" in row
        assert f"`{file}`" in cells


@pytest.mark.parametrize("file", sorted(LOGIN_FILES))
def test_the_page_of_backups_names_what_is_never_in_one(file: str) -> None:
    row = next(
        line for line in (DOCS / "howto/backup.md").read_text().splitlines() if "logins of coding agents" in line
    )
    assert f"`{file}`" in row
