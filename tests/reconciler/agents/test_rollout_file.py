"""A rollout's file that is damaged is logged, and no rollout is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.agents.rollout_file import RolloutFile


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_file_is_logged_and_not_gone_on_with(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rollout.json"
    path.write_text(content)
    assert RolloutFile(path).current is None
    assert str(path) in caplog.text
