"""The surroundings of a CLI: its folders, its environment, and the loopback ports of the relays.

Nothing of the harness's own environment is passed on but what is listed here. A CLI under another uid than the harness
gets the same. Its home and its folder of work are made before the harness starts (harness.owners), since they are its.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.environment import Environment
from harness.own_command import own_command
from harness.relay.egress import Misses, egress_relay
from harness.relay.mcp import mcp_relay
from harness.runtimes.base import Enclosure
from harness.runtimes.start_files import SHARED
from harness.scope.bounds import Bounds
from harness.scope.needs import needs_of
from harness.subagents.tools import SubAgents
from harness.way_out.way_out import WayOut
from meta.agent_toml.settings import AgentSettings
from meta.network.variables import BUNDLE, OTHER_BUNDLES, ca_variables, proxy_variables
from meta.scope.rules import Rule, Scope

WORK = "work"
"""The folder of the state in which the CLI runs. It stays, as the conversations about it do."""
PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "HIVE_AGENT", "HIVE_LABEL")
"""Variables that the backend sets for the harness, and that are true for the CLI too."""


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod whose CLI it is.

    `scope` returns what the CLI is kept to at this moment, None: to nothing; `delegated` what of it sub-agents may
    write. `tools` does what the tools for sub-agents ask for, None: the CLI has none of those. Without `has_hive` it
    has none of hive's tools.
    """

    scope: Callable[[], Scope | None] = lambda: None
    delegated: Callable[[], tuple[Rule, ...]] = tuple
    tools: SubAgents | None = None
    has_hive: bool = True


NO_POD = Pod()


@contextlib.asynccontextmanager
async def enclosed(
    environment: Environment,
    settings: AgentSettings,
    variables: Mapping[str, str],
    own: Pod = NO_POD,
) -> AsyncIterator[tuple[Enclosure, WayOut]]:
    """Open both relays inside the block; yield the enclosure and the way out. `variables` is the harness's environment.

    `own` is of the pod whose CLI it is. OSError if a folder cannot be made.
    """
    home = Path(variables.get("HOME", "/home/agent"))
    work = environment.cwd or environment.state / WORK
    if environment.cwd is None:
        work.mkdir(mode=0o700, exist_ok=True)
    passed = {name: variables[name] for name in PASSED_ON if name in variables}
    # not in /state: a backup must not have the token
    with tempfile.TemporaryDirectory(prefix="hive-cli-", dir=environment.cli_files) as files:
        if environment.cli_files is not None:  # its group is the CLI's
            Path(files).chmod(SHARED)
        misses = Misses()
        async with (
            mcp_relay(environment.tools if own.has_hive else None, pods=own.tools, port=environment.port) as mcp,
            egress_relay(environment.egress, port=environment.egress_port, misses=misses) as url,
        ):
            way_out = WayOut(environment.egress, url, settings.runtime, environment.kept, misses)
            proxy = proxy_variables(int(url.rpartition(":")[2]), own_command())
            env = {**_fixed(environment), **_authorities(), **passed, **settings.env, **proxy}
            secrets = Path(variables["CREDENTIALS_DIRECTORY"]) if variables.get("CREDENTIALS_DIRECTORY") else None
            bare = Enclosure(home, work, Path(files), env, mcp, way_out.access, secrets)
            yield replace(bare, bounds=_bounds(environment, settings, bare, own)), way_out


def _bounds(
    environment: Environment, settings: AgentSettings, enclosure: Enclosure, own: Pod
) -> Callable[[], Bounds | None]:
    """Return what says to what the CLI is kept."""
    needs = needs_of(settings, enclosure.env, enclosure.home, (enclosure.files, environment.config))

    def bounds() -> Bounds | None:
        scope = own.scope()
        return None if scope is None else Bounds(scope, needs, own.delegated(), soft=environment.soft_scopes)

    return bounds


def _fixed(environment: Environment) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "EMAIL": f"{environment.agent}@hive",  # git's, until the agent sets user.email
    }


def _authorities() -> dict[str, str]:
    return ca_variables(path for path in (BUNDLE, *OTHER_BUNDLES) if Path(path).exists())
