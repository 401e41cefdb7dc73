"""Which deployed ids keep the root of their generation."""

from __future__ import annotations

from pathlib import Path

from meta.model import Generation
from meta.names import AgentName, GenerationId, ProposalId, Sha
from reconciler.apply.deploys import ids_of_last


def kept(generations: dict[int, str], count: int) -> list[int]:
    """Return the ids that stay of ids and the generations that they ran."""
    built = {
        ProposalId(id): Generation(GenerationId(name), AgentName("alice"), Sha("a" * 40), Path(name), "f", "1")
        for id, name in generations.items()
    }
    return sorted(ids_of_last(sorted(built), built, count))


def test_the_last_ones_stay() -> None:
    assert kept({1: "a", 2: "b", 3: "c"}, 2) == [2, 3]


def test_rollbacks_to_and_fro_push_no_other_generation_out() -> None:
    assert kept({1: "a", 2: "b", 3: "c", 4: "b", 5: "c", 6: "b"}, 3) == [1, 2, 3, 4, 5, 6]


def test_every_id_of_a_generation_that_stays_stays_so_that_it_can_be_the_target_of_a_rollback() -> None:
    assert kept({1: "a", 2: "b", 3: "c", 4: "a"}, 2) == [1, 3, 4]
