"""A daemon's part of a test that continues after a restart of the host: `python -m ... up|look`, one line of JSON.

up     bring alice and bob up, say who they are, and leave them running look   what the next daemon sees before it does
anything, and after it started alice again
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from meta.names import AgentName
from tests.systemd.inside.conftest import NixosHost

ALICE, BOB = AgentName("alice"), AgentName("bob")


async def up(host: NixosHost) -> dict[str, object]:
    """Start two agents that run when the host goes down."""
    said: dict[str, object] = {}
    for agent in (ALICE, BOB):
        said[agent] = (await host.bring_up(agent)).nonce
        await host.until_up(agent)
    return said


async def look(host: NixosHost) -> dict[str, object]:
    """Check that no agent runs by itself, and that alice comes back with her old log."""
    seen = {agent: asdict(host.backend.observe(agent)) for agent in (ALICE, BOB)}
    await host.backend.start(ALICE, host.launch(host.generation(ALICE)))
    await host.until_up(ALICE)
    return {"seen": seen, "log": await host.backend.logs(ALICE, 200), "runs": host.backend.observe(ALICE).running}


async def main(what: str) -> None:
    """Do one part."""
    host = NixosHost(Path("/nowhere"))
    await host.open()
    try:
        said = await (up(host) if what == "up" else look(host))
    finally:
        await host.backend.close()
    sys.stdout.write(f"{json.dumps(said)}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
