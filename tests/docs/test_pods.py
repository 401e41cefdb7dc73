"""The tables of docs/reference/pods.md are true."""

from __future__ import annotations

from pathlib import Path

from harness.pod.table import METHODS, TABLE, PodState, Row
from harness.subagents.tools import TOOLS
from meta.wire.pod import ErrorCode, RunResult, Source

PAGE = Path(__file__).parents[2] / "docs/reference/pods.md"


def cell(row: Row) -> str:
    return f"refuse: {row.error}" if row.error is not None else f"{row.act} → {row.state}"


def test_the_table_of_methods_is_that_of_the_code() -> None:
    lines = ["| method | idle | running | paused |", "|---|---|---|---|"]
    lines += [f"| `{method}` | {' | '.join(cell(TABLE[method, state]) for state in PodState)} |" for method in METHODS]
    text = PAGE.read_text(encoding="utf-8")
    made = text.partition("<!-- methods")[2].partition("<!-- end -->")[0]
    assert made.partition("\n")[2].strip().splitlines() == lines


def test_the_page_names_every_code_result_and_source() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for word in (*ErrorCode, *RunResult, *Source):
        assert f"`{word}`" in text


def test_the_table_of_tools_has_each_with_its_arguments() -> None:
    part = PAGE.read_text(encoding="utf-8").partition("<!-- tools")[2].partition("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in part.splitlines() if line.startswith("| `")]
    assert rows == [[f"`{tool.name}`", ", ".join(f"`{name}`" for name in tool.properties)] for tool in TOOLS.values()]
