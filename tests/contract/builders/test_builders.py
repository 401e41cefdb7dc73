"""The contract of builders: every test runs unchanged on every builder (see conftest.BUILDERS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import pytest

from meta.errors import BuildFailed
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Limits
from meta.names import AgentName, GenerationId, ProposalId, Sha
from reconciler.builders.base import Builder, BuildRequest

ALICE = AgentName("alice")
BOB = AgentName("bob")
ONE, TWO, THREE = ProposalId(1), ProposalId(2), ProposalId(3)
NO_GENERATIONS: frozenset[GenerationId] = frozenset()
NO_IDS: frozenset[ProposalId] = frozenset()


class Host(Protocol):
    """What conftest gives."""

    builder: Builder
    layout: Layout
    settings: ContainerSettings

    def make(self, revision: str) -> Builder: ...
    async def commit(self, agent: AgentName, files: Mapping[str, bytes]) -> Sha: ...
    def request(self, agent: AgentName, id: int, sha: Sha) -> BuildRequest: ...
    def good(self, note: str = "") -> dict[str, bytes]: ...
    def damage(self, generation: Generation) -> None: ...
    def tamper(self, generation: Generation) -> None: ...
    def intact(self, generation: Generation, note: str) -> bool: ...


async def build(host: Host, id: int, note: str, agent: AgentName = ALICE) -> Generation:
    """Build a commit with this note."""
    return await host.builder.build(host.request(agent, id, await host.commit(agent, host.good(note))))


async def test_nothing_is_built_at_first(builder_host: Host) -> None:
    assert builder_host.builder.built(ALICE) == {}


async def test_a_build_says_what_it_was_built_from(builder_host: Host) -> None:
    sha = await builder_host.commit(ALICE, builder_host.good("a"))
    generation = await builder_host.builder.build(builder_host.request(ALICE, 1, sha))
    assert (generation.agent, generation.sha, generation.revision) == (ALICE, sha, "1.0")
    assert generation.fingerprint == builder_host.settings.fingerprint()
    assert builder_host.intact(generation, "a")


async def test_the_revision_that_a_build_would_record_is_known_before(builder_host: Host) -> None:
    request = builder_host.request(ALICE, 1, await builder_host.commit(ALICE, builder_host.good()))
    before = await builder_host.builder.revision(request.candidate)
    assert before == (await builder_host.builder.build(request)).revision
    assert await builder_host.make("2.0").revision(request.candidate) == "2.0"


async def test_the_same_request_gives_the_same_generation(builder_host: Host) -> None:
    request = builder_host.request(ALICE, 1, await builder_host.commit(ALICE, builder_host.good()))
    first = await builder_host.builder.build(request)
    assert await builder_host.builder.build(request) == first
    assert await builder_host.make("1.0").build(request) == first


async def test_another_commit_settings_or_revision_gives_another_generation(builder_host: Host) -> None:
    request = builder_host.request(ALICE, 1, await builder_host.commit(ALICE, builder_host.good("a")))
    limited = replace(request, settings=replace(request.settings, limits=Limits(memory_mib=64)))
    ids = {
        (await builder_host.builder.build(request)).id,
        (await build(builder_host, 2, "b")).id,
        (await builder_host.builder.build(limited)).id,
        (await builder_host.make("2.0").build(request)).id,
    }
    assert len(ids) == 4


async def test_what_an_id_was_built_into_is_known_at_once_and_to_a_new_daemon(builder_host: Host) -> None:
    first, second = await build(builder_host, 1, "a"), await build(builder_host, 2, "b")
    assert builder_host.builder.built(ALICE) == {ONE: first, TWO: second}
    assert builder_host.make("1.0").built(ALICE) == {ONE: first, TWO: second}
    assert builder_host.builder.built(BOB) == {}


async def test_a_generation_deleted_by_hand_is_not_built_and_is_built_again(builder_host: Host) -> None:
    generation = await build(builder_host, 1, "a")
    builder_host.damage(generation)
    assert builder_host.builder.built(ALICE) == {}
    assert await builder_host.builder.build(builder_host.request(ALICE, 1, generation.sha)) == generation
    assert builder_host.builder.built(ALICE) == {ONE: generation}
    assert builder_host.intact(generation, "a")


async def test_a_generation_edited_by_hand_is_made_again_by_a_build(builder_host: Host) -> None:
    generation = await build(builder_host, 1, "a")
    builder_host.tamper(generation)
    await builder_host.builder.build(builder_host.request(ALICE, 1, generation.sha))
    assert builder_host.intact(generation, "a")


async def test_a_rollback_reuses_the_generation_of_its_target(builder_host: Host) -> None:
    generation = await build(builder_host, 1, "a")
    assert await builder_host.builder.reuse(builder_host.request(ALICE, 2, generation.sha), ONE)
    assert builder_host.builder.built(ALICE)[TWO] == generation


async def test_a_generation_edited_by_hand_is_not_reused(builder_host: Host) -> None:
    generation = await build(builder_host, 1, "a")
    builder_host.tamper(generation)
    assert not await builder_host.builder.reuse(builder_host.request(ALICE, 2, generation.sha), ONE)
    assert TWO not in builder_host.builder.built(ALICE)


async def test_what_was_built_is_intact_until_it_is_deleted(builder_host: Host) -> None:
    generation = await build(builder_host, 1, "a")
    assert await builder_host.builder.intact(generation)
    builder_host.damage(generation)
    assert not await builder_host.builder.intact(generation)


async def test_a_root_deleted_by_hand_is_not_built(builder_host: Host) -> None:
    await build(builder_host, 1, "a")
    builder_host.layout.root(ALICE, ONE).unlink()
    assert builder_host.builder.built(ALICE) == {}


async def test_a_commit_that_does_not_become_a_generation_fails_and_leaves_nothing(builder_host: Host) -> None:
    sha = await builder_host.commit(ALICE, {**builder_host.good(), "agent.toml": b'colour = "blue"\n'})
    with pytest.raises(BuildFailed, match="colour"):
        await builder_host.builder.build(builder_host.request(ALICE, 1, sha))
    assert builder_host.builder.built(ALICE) == {}


async def test_prune_drops_the_roots_of_other_ids(builder_host: Host) -> None:
    await build(builder_host, 1, "a")
    second = await build(builder_host, 2, "b")
    await builder_host.builder.prune(ALICE, NO_GENERATIONS, frozenset({TWO}))
    assert builder_host.builder.built(ALICE) == {TWO: second}


async def test_prune_keeps_by_count_and_never_drops_what_is_kept_or_rooted(builder_host: Host) -> None:
    made = [await build(builder_host, id, f"note {id}") for id in range(1, 7)]
    await builder_host.builder.prune(ALICE, frozenset({made[0].id}), frozenset({TWO}))
    left = [generation for id, generation in enumerate(made, 1) if builder_host.intact(generation, f"note {id}")]
    assert left == [made[0], made[1], made[4], made[5]]


async def test_prune_of_nothing_is_nothing(builder_host: Host) -> None:
    await builder_host.builder.prune(ALICE, NO_GENERATIONS, NO_IDS)
    assert builder_host.builder.built(ALICE) == {}


async def test_forget_removes_everything_of_one_agent(builder_host: Host) -> None:
    gone, kept = await build(builder_host, 1, "a"), await build(builder_host, 1, "a", BOB)
    await builder_host.builder.forget(ALICE)
    await builder_host.builder.forget(ALICE)
    assert builder_host.builder.built(ALICE) == {}
    assert not builder_host.intact(gone, "a")
    assert builder_host.builder.built(BOB) == {ONE: kept}
