"""What backend `local` finds and runs here, as JSON: `unshare -Ur python -m tests.support.rootless`."""

from __future__ import annotations

import asyncio
import json
import sys

from meta.config import Config
from meta.process import sandbox
from meta.process.run import run
from reconciler.backends.local.abilities import abilities
from reconciler.backends.local.cgroups import detect
from reconciler.backends.local.enclosure import probe


async def main() -> dict[str, object]:
    """Probe, then look around in a sandbox that was asked for with a uid of an agent."""
    config = Config()
    host = await probe(config)
    ability = abilities(host, config, detect("rootless"))
    inside: list[str] = []
    if host.sandbox is not None:
        look = "id -u; test -w /proc/sys/kernel/core_pattern || echo shut; ls -d /proc/[0-9]* | wc -l"
        command = sandbox.command(sandbox.Sandbox(uid=config.uid_start), ["sh", "-c", look], host.sandbox)
        inside = (await run(command, deadline=20)).text.split()
    return {"uids": ability.uids, "isolation": ability.isolation, "notes": ability.notes, "inside": inside}


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(asyncio.run(main()))}\n")
