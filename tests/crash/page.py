"""`python -m tests.crash.page`: writes docs/reference/crash-matrix.md from the step table and the scenarios."""

from __future__ import annotations

from pathlib import Path

from reconciler.effects import EFFECTS
from reconciler.steps import COMMANDS, STEPS
from tests.crash.test_matrix import SCENARIO_OF

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "crash-matrix.md"

HEAD = """# The crash matrix

The real daemon (backend `local`, real git, real processes) is killed with SIGKILL before and after every effect of
every step. The rows come from the step table, so a new step without a scenario fails a test. After a restart the id
must have ended as the last column allows; meta, applied tags, containers and store must agree, nothing may be left
over, and agents that were not concerned have the same pid. `make test` runs both cells of every row
(tests/crash/test_matrix.py); this page says what is allowed, the test run what was seen.

| effect | of | while | may end as |
|---|---|---|---|
"""
ENDS = {
    "propose": "no card, or a pending one; the agent untouched, its pid the same",
    "approve": "pending, or deployed",
    "deploy": "deployed",
    "fail": "failed; the old generation runs again, through the gate",
    "fail_build": "failed; the agent untouched, its pid the same",
    "deny": "pending, or denied; the agent untouched, its pid the same",
    "spawn": "no agent, or a spawned one; `hive spawn` again completes it",
    "crash": "restarted, the crash counted once",
    "give_up": "failed, and rollback-failed: no further try",
    "rebuild": "running, rebuilt if the command was answered",
    "destroy": "there as before, or destroyed with its open ids ended",
    "purge": "there as before, or purged",
}


def page() -> str:
    """The whole page."""
    owners = {name: step.name for step in STEPS for name in step.effects}
    owners |= {name: f"`hive {command}`" for command, names in COMMANDS.items() for name in names}
    rows = []
    for name in sorted(EFFECTS):
        scenario = SCENARIO_OF[name].__name__
        rows.append(f"| `{name}` | {owners[name]} | {scenario.replace('_', ' ')} | {ENDS[scenario]} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
