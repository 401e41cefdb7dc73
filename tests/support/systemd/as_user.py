"""The whole life of one container under a daemon that is not root.

`python -m ... as_user SYSTEM` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import time
from pathlib import Path

from meta.config import Config
from meta.errors import HiveError
from meta.layout import Layout
from meta.model import ContainerSettings, Generation, Limits, Role
from meta.names import AgentName, GenerationId, Sha
from reconciler.backends.nixos.backend import NixosBackend
from reconciler.backends.nixos.bus import Bus
from reconciler.backends.nixos.records import Where
from reconciler.common.tasks import Background
from reconciler.plan.observed import Launch
from reconciler.privileged.client import Client
from reconciler.privileged.values import Bounds
from tests.support.systemd.host import HOME

CAROL = AgentName("carol")
WAIT = 10.0


async def main(system: Path) -> dict[str, object]:
    """Create, start, read the log, get a foreign container refused, stop, destroy."""
    layout = Layout(HOME / "user", Path("/run/hive-user"))
    where = Where(owner="hive-user", bounds=Bounds(store=str(HOME / "store")))
    helper = Client(Path("/run/hive-privileged-user/socket"))
    backend = NixosBackend(layout, Config(), helper, Bus(Background()), where=where)
    settings = ContainerSettings(Role.AGENT, 851_968, Limits(memory_mib=128, pids=64))
    generation = Generation(
        GenerationId("1" * 20), CAROL, Sha("a" * 40), system, settings.fingerprint(), revision="test"
    )
    launch = Launch(generation.id, generation.fingerprint, "cafe", time.time())
    await backend.open(lambda agent: None)
    try:
        await backend.create(CAROL, settings)
        await backend.set_system(CAROL, generation)
        await backend.start(CAROL, launch)
        up = backend.observe(CAROL).running
        async with asyncio.timeout(WAIT):
            while launch.nonce not in await backend.logs(CAROL, 20):
                await asyncio.sleep(0.02)
        modes = {
            name: oct(stat.S_IMODE(path.lstat().st_mode)) + f" {path.lstat().st_uid} {path.lstat().st_gid}"
            for name, path in (
                ("sockets", layout.sockets(CAROL)),
                ("launch.env", layout.sockets(CAROL) / "launch.env"),
                ("state", layout.agent_state(CAROL)),
                ("pods", layout.pods(CAROL)),
            )
        }
        await backend.stop(CAROL, 5)
        ended = backend.observe(CAROL).exit
        await backend.destroy(CAROL)
        return {
            "uid": os.geteuid(),
            "up": up,
            "modes": modes,
            "code": ended.code if ended is not None else None,
            "left": backend.observe(CAROL).exists,
            "foreign": backend.observe(AgentName("alice")).ours,
            "refused": await _refused(backend),
        }
    finally:
        await backend.close()


async def _refused(backend: NixosBackend) -> bool:
    """Return True if a stop of alice, which belongs to another hive, is refused."""
    try:
        await backend.stop(AgentName("alice"), 0)
    except HiveError as error:
        return "marker" in error.summary
    return False


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(asyncio.run(main(Path(sys.argv[1]))))}\n")
