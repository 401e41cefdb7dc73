"""Which settings a runtime obeys: every runtime has a row, and the row agrees with what its adapter reports."""

from __future__ import annotations

import pytest

from harness.runtimes.acp.table import PRESETS
from meta.agent_toml.obeyed import _OBEYED, obeyed
from meta.agent_toml.runtimes import RUNTIMES


def test_every_runtime_has_a_row() -> None:
    assert set(_OBEYED) == RUNTIMES


def test_a_runtime_of_another_hive_counts_as_obeying_nothing() -> None:
    row = obeyed("next-year")

    assert not (row.allow or row.deny or row.max_turns or row.dollars)


@pytest.mark.parametrize("name", PRESETS)
def test_a_limit_in_dollars_is_obeyed_by_those_that_report_dollars(name: str) -> None:
    # `acp` is any agent: it may report them, and hive counts them then
    assert obeyed(name).dollars == (PRESETS[name].capabilities.cost and name != "acp")
