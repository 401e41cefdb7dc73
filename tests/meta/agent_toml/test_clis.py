"""The table of CLIs: one for the harness, which refuses, and for `hive doctor`, which reports."""

from __future__ import annotations

import re

import pytest

from harness.runtimes.acp.table import PRESETS
from meta.agent_toml.clis import CLIS, LOGIN_INSTALL, cli_of, is_too_old, version_in
from meta.agent_toml.runtimes import RUNTIMES


def test_each_runtime_but_those_without_a_program_of_their_own_has_a_row() -> None:
    assert CLIS.keys() == RUNTIMES - {"script", "acp"}
    assert cli_of("acp") is cli_of("nonsense") is None


@pytest.mark.parametrize("name", sorted(PRESETS.keys() & CLIS.keys()))
def test_what_the_harness_takes_is_what_the_table_says(name: str) -> None:
    cli, preset = cli_of(name), PRESETS[name]
    assert cli is not None
    assert (preset.program, preset.minimum, preset.install) == (cli.program, cli.oldest, cli.remedy)


def test_the_version_of_claude_that_is_installed_is_one_that_is_taken() -> None:
    """Without a version npm on node 20 takes 2.1.197, which is refused."""
    claude = CLIS["claude"]
    found = re.search(r"claude-code@(\S+)$", claude.install)
    assert found is not None
    assert not is_too_old(claude, found[1])


def test_each_program_that_only_logs_in_can_be_installed() -> None:
    assert {cli.login for cli in CLIS.values()} - {""} == LOGIN_INSTALL.keys()


@pytest.mark.parametrize(
    ("text", "version"),
    [("2.1.329 (Claude Code)", (2, 1, 329)), ("codex-acp 2.6.0-rc.1", (2, 6, 0)), ("of unknown version", None)],
)
def test_a_version_is_the_first_number_with_dots(text: str, version: tuple[int, ...] | None) -> None:
    assert version_in(text) == version


def test_a_version_of_which_nothing_is_known_is_not_too_old() -> None:
    assert not is_too_old(CLIS["claude"], "of unknown version")
    assert is_too_old(CLIS["claude"], "2.1.247")
    assert not is_too_old(CLIS["claude"], "2.1.248")
