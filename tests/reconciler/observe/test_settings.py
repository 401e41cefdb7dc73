"""The settings of an agent whose repo is damaged allow nothing, until the repo is mended."""

from __future__ import annotations

from meta.errors import Damaged
from meta.names import AgentName, Sha
from reconciler.observe.settings import CLOSED, DeployedSettings

ALICE, COMMIT = AgentName("alice"), Sha("1" * 40)


async def test_a_damaged_repo_closes_the_settings_until_it_is_mended() -> None:
    damaged = True

    async def read(agent: AgentName, sha: Sha) -> bytes:
        if damaged:
            raise Damaged("the repo", "it cannot be read")
        return b""

    settings = DeployedSettings(lambda _: COMMIT, read)
    assert await settings.of(ALICE) == CLOSED
    damaged = False
    assert await settings.of(ALICE) != CLOSED
