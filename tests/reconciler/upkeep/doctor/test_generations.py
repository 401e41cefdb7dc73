"""What `hive doctor` says about damaged generations."""

from __future__ import annotations

from reconciler.upkeep.doctor.checks.base import Subject, Verdict
from tests.reconciler.upkeep.doctor.looks import ALICE, look, only


async def test_whole_generations_are_in_order(subject: Subject) -> None:
    (row,) = await look(subject, "generations")
    assert row.verdict is Verdict.OK


async def test_a_damaged_generation_is_named_with_the_command_that_builds_it_again(subject: Subject) -> None:
    system = min(subject.layout.generations(ALICE).iterdir())
    (system / "tree/agent.toml").chmod(0o644)
    (system / "tree/agent.toml").write_bytes(b"")
    row = await only(subject, "generations", Verdict.WARN, f"{system} is damaged")
    assert "hive rebuild alice" in row.remedy
