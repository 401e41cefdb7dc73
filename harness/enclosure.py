"""The surroundings of a CLI: its folders, its environment, and the loopback ports of the relays.

Nothing of the harness's own environment is passed on but what is listed here. A CLI under another uid than the harness
gets the same. Its home and its folder of work are made before the harness starts (harness.owners), since they are its.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from harness.environment import Environment
from harness.relay.egress import egress_relay
from harness.relay.mcp import mcp_relay
from harness.runtimes.base import Enclosure
from harness.runtimes.start_files import SHARED
from meta.agent_toml.settings import AgentSettings

WORK = "work"
"""The folder of the state in which the CLI runs. It stays, as the conversations about it do."""
LOOPBACK = "127.0.0.1,localhost,::1"
PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "HIVE_AGENT", "HIVE_LABEL")
"""Variables that the backend sets for the harness, and that are true for the CLI too."""


@contextlib.asynccontextmanager
async def enclosed(
    environment: Environment, settings: AgentSettings, variables: Mapping[str, str]
) -> AsyncIterator[Enclosure]:
    """Open both relays inside the block; yield the enclosure. `variables` is the harness's own environment.

    OSError if a folder cannot be made.
    """
    home = Path(variables.get("HOME", "/home/agent"))
    work = environment.state / WORK
    work.mkdir(mode=0o700, exist_ok=True)
    passed = {name: variables[name] for name in PASSED_ON if name in variables}
    # not in /state: a backup must not have the token
    with tempfile.TemporaryDirectory(prefix="hive-cli-", dir=environment.cli_files) as files:
        if environment.cli_files is not None:  # its group is the CLI's
            Path(files).chmod(SHARED)
        async with (
            mcp_relay(environment.tools, port=environment.port) as mcp,
            egress_relay(environment.egress) as model_url,
        ):
            env = {**_fixed(environment), **passed, **settings.env}
            secrets = variables.get("CREDENTIALS_DIRECTORY")
            yield Enclosure(home, work, Path(files), env, mcp, model_url, Path(secrets) if secrets else None)


def _fixed(environment: Environment) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "EMAIL": f"{environment.agent}@hive",  # git's, until the agent sets user.email
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
    }
