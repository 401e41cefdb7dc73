"""Fetches on a host that lets bubblewrap make no namespace, and what git's messages say of a serving side that died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.errors import Refused
from meta.proposed.quarantine.repo import explain
from tests.support.quarantine_lab import BWRAP, QuarantineLab, made_lab


@pytest.fixture
def hive() -> Iterator[QuarantineLab]:
    with made_lab() as made:
        yield made


@pytest.mark.parametrize("short", [False, True])
@BWRAP[0]
@BWRAP[1]
async def test_a_sandbox_that_may_make_no_namespace_is_named_and_not_the_repo(
    hive: QuarantineLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    commit = hive.work.commit({"agent.toml": "a"})
    stub = tmp_path / "bwrap"
    stub.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Refused, match="No permissions to create new namespace") as refusal:
        await hive.fetch(commit[:9] if short else commit)
    assert "namespaces" in refusal.value.hint
    assert hive.left_over() == []


def test_the_reason_is_what_stands_before_gits_closing_lines() -> None:
    stderr = (
        "warden: no more processes\nfatal: Could not read from remote repository.\n\n"
        "Please make sure you have the correct access rights\nand the repository exists.\n"
    )
    assert "warden: no more processes" in explain(stderr, "HEAD", Path("/x")).summary
    assert "git gave no reason" in explain("and the repository exists.\n", "HEAD", Path("/x")).summary
