"""A host whose configuration declares agents, with a whole daemon on backend `fake`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from api.daemon.agent_sockets import AgentSockets
from meta.config import Config
from meta.layout import Layout
from meta.model import TagState
from meta.names import AgentName, ProposalId
from reconciler.daemon.choices import choose
from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")
BY = "nixos-rebuild (generation 42, revision 1a2b3c4d5e6f)"
OPERATOR = "operator"


class Host:
    """A host whose configuration declares agents, and its daemon."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "s", directory / "r")
        self.file = directory / "agents.json"
        self.profile = directory / "system"
        self.profile.symlink_to("system-42-link")
        self.daemon: Daemon | None = None

    def declare(self, **agents: dict[str, str | None]) -> None:
        """Write the file as a switch to another generation does."""
        content = {
            "version": 1,
            "revision": "1a2b3c4d5e6f708",
            "profile": str(self.profile),
            "agents": agents,
        }
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.chmod(0o644)
        new.rename(self.file)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        """Run a daemon in the block. It looks at the declaration only when a test asks."""
        config = Config.model_validate({"health_stable": 0.0, "declared": str(self.file)})
        serving = asyncio.get_running_loop().create_future()
        sockets = AgentSockets(self.layout, config, serving)
        made = await Daemon.open(self.layout, config, sockets, choose("fake", "plain"))
        serving.set_result(made.service)
        self.daemon = made
        try:
            await made.service.loop.sweep()
            yield made
        finally:  # or a test that fails ends with tasks whose threads are gone
            await made.close()
            await sockets.close_all()

    async def settle(self) -> None:
        """Follow the declaration until neither it nor the loop has anything to do."""
        assert self.daemon is not None
        for _ in range(3):
            await self.daemon.service.declared.look()
            assert await self.daemon.service.loop.settled(None, 10)

    def lose_the_database(self) -> None:
        """Lose what no tag has, between two daemons."""
        for path in self.layout.database.parent.glob(f"{self.layout.database.name}*"):
            path.unlink()

    # what is seen
    async def row(self) -> Any:
        assert self.daemon is not None
        status = await self.daemon.service.status()
        return next((row for row in status.agents if row.agent == ALICE), None)

    async def standing(self) -> str:
        return str((await self.row()).declared)

    async def files(self) -> dict[str, bytes]:
        """The files of the commit that meta pins."""
        assert self.daemon is not None
        desired = await self.daemon.world.observer.desired()
        files = await self.daemon.world.applied(ALICE).files(desired.agents[ALICE].pin.sha)
        return {path: file.data for path, file in files.items()}

    async def tags(self) -> dict[int, TagState]:
        assert self.daemon is not None
        return {deploy.id: deploy.state for deploy in await self.daemon.world.observer.refresh(ALICE, again=True)}

    async def edit(self, text: str) -> ProposalId:
        """Change agent.toml by git, as a person does, and deploy that."""
        assert self.daemon is not None
        service = self.daemon.service
        deploy = await service.settings.propose(ALICE, OPERATOR, text)
        await service.proposals.approve(deploy.id, OPERATOR)
        await self.settle()
        assert (await self.tags())[deploy.id] is TagState.DEPLOYED
        return deploy.id


def toml(label: str) -> dict[str, str | None]:
    return {"settings": f'label = "{label}"\n'}
