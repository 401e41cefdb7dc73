"""`python -m tests.crash.table`: writes docs/reference/crash-matrix.md from what the last run saw."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from reconciler.plan.steps import COMMANDS, OPERATIONS, STEPS
from tests.crash.cell import Scenario
from tests.crash.scenarios import ALL, NAMED, SHORT

ROOT = Path(__file__).parents[2]
FILE = ROOT / "build" / "crash-matrix.json"
PAGE = ROOT / "docs" / "reference" / "crash-matrix.md"

Seen = dict[tuple[str, str, int], str]
"""(scenario, failpoint, kills) -> what was seen."""

HEAD = """# The crash matrix

The real daemon (backend `local`, real git, real processes) is killed with SIGKILL before and after every effect of
every step, and started again. This page says what was seen then; it is written by `python -m tests.crash.table` from
the last run of the tests (tests/crash/), which demand the same outcomes. The rows come from the step table, so a new
step without a scenario fails a test.

After each kill, whatever the outcome: meta, the applied tags, the containers and the cards agree; every agent runs
what meta pins; each event was appended once; no candidate, lock, temporary file, record or process is left
over; and each agent that is not concerned, or to which nothing was to happen, is the same process as before. Where a
command was not answered it either happened as a whole or is still to be given again.
"""
SHORT_HEAD = """
## Every effect

`make test` does those after an effect, and those before it that end otherwise; `make test-full` does all.

| effect | of | while | killed before it | killed after it |
|---|---|---|---|---|
"""
INSIDE_HEAD = """
## Inside an effect

An effect that is made of several operations is killed after each of them as well, but for the last: by `make test`
after the first, by `make test-full` after each.

| effect | killed after the operation | while | outcome |
|---|---|---|---|
"""
LONG_HEAD = """
## Every scenario

`make test-full` does these as well. "Twice" is killed again at the same place after the restart, should hive come
there once more: the step that two daemons died in is not tried a third time, and the id ends as failed.

| scenario | effect | before | after | twice before | twice after |
|---|---|---|---|---|---|
"""


def owner(effect: str) -> str:
    """The step or the command that the effect belongs to."""
    owners = {name: f"`hive {command}`" for command, names in COMMANDS.items() for name in names}
    owners |= {name: step.name for step in STEPS for name in step.effects}
    return owners[effect]


def short_rows(seen: Seen) -> Iterator[tuple[str, ...]]:
    """A row per effect, in the order of the step table."""
    order = [name for names in (*COMMANDS.values(), *(step.effects for step in STEPS)) for name in names]
    for effect in dict.fromkeys(order):
        scenario = SHORT[effect]
        yield effect, owner(effect), scenario.name, *(_cell(seen, scenario, effect, side, 1) for side in SIDES)


def inside_rows(seen: Seen) -> Iterator[tuple[str, ...]]:
    """A row per operation inside an effect, in the order of the step table."""
    for effect, operations in OPERATIONS.items():
        scenario = SHORT[effect]
        for name in operations:
            yield effect, name, scenario.name, _cell(seen, scenario, effect, name, 1)


SIDES = ("before", "after")


def long_rows(seen: Seen) -> Iterator[tuple[str, ...]]:
    """A row per scenario and effect."""
    for scenario in ALL:
        for effect in scenario.effects:
            cells = (_cell(seen, scenario, effect, side, kills) for kills in (1, 2) for side in SIDES)
            yield scenario.name, effect, *cells


def _cell(seen: Seen, scenario: Scenario, effect: str, side: str, kills: int) -> str:
    failpoint = f"{effect}:{side}"
    return seen.get((scenario.name, failpoint, kills), "")


def lines(seen: Seen) -> Iterator[str]:
    """The table for a terminal: the rows in which something was seen."""
    for effect, _, scenario, *cells in short_rows(seen):
        if any(cells):
            yield f"{effect:18} {scenario:40} {cells[0]:30} {cells[1]}"
    for effect, name, scenario, outcome in inside_rows(seen):
        if outcome:
            yield f"{effect:18} {scenario:40} {outcome:30} (after {name})"
    for scenario, effect, *cells in long_rows(seen):
        if any(cells[2:]) or (any(cells) and SHORT[effect].name != scenario):
            yield f"{scenario:40} {effect:18} {' | '.join(cell or '-' for cell in cells)}"


def keep(seen: Seen) -> None:
    """Write FILE: this run's cells over those of earlier runs, as far as there are such cells."""
    merged = {key: outcome for key, outcome in (load() | seen).items() if _exists(*key)}
    FILE.parent.mkdir(exist_ok=True)
    rows = [[*key, outcome] for key, outcome in sorted(merged.items())]
    FILE.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")


def _exists(scenario: str, failpoint: str, _: int) -> bool:
    return scenario in NAMED and failpoint in NAMED[scenario].failpoints


def load() -> Seen:
    """What FILE keeps."""
    if not FILE.exists():
        return {}
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return {(scenario, failpoint, kills): outcome for scenario, failpoint, kills, outcome in rows}


def printed(text: str) -> Seen:
    """Return the cells of every scenario that the page `text` has: what a long run saw stays until the next one."""
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.count("|") == 7]
    kinds = [(side, kills) for kills in (1, 2) for side in SIDES]
    return {
        (scenario, f"{effect}:{side}", kills): outcome
        for scenario, effect, *cells in rows
        for (side, kills), outcome in zip(kinds, cells, strict=True)
    }


def page(seen: Seen) -> str:
    """The whole page."""
    short = [_row(f"`{effect}`", *rest) for effect, *rest in short_rows(seen)]
    long = [_row(scenario, f"`{effect}`", *rest) for scenario, effect, *rest in long_rows(seen)]
    inside = [_row(f"`{effect}`", f"`{name}`", *rest) for effect, name, *rest in inside_rows(seen)]
    return (
        HEAD
        + SHORT_HEAD
        + "\n".join(short)
        + "\n"
        + INSIDE_HEAD
        + "\n".join(inside)
        + "\n"
        + LONG_HEAD
        + "\n".join(long)
        + "\n"
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    if not FILE.exists():
        sys.exit(f"{FILE} is not there: run `make test` first")
    PAGE.write_text(page(printed(PAGE.read_text(encoding="utf-8")) | load()), encoding="utf-8")
